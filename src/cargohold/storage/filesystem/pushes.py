"""Manifests pushed into a repository: those that come together are stored together, by one change.

Everything is staged without the repository's lock; then it is looked under it whether what was taken for granted is
still there.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from functools import lru_cache, partial
from typing import TYPE_CHECKING, NamedTuple

from cargohold.storage import disk
from cargohold.storage.batches import Batches, each_for_itself
from cargohold.storage.change import Change
from cargohold.storage.filesystem.manifests import FileManifests
from cargohold.storage.filesystem.places import Place, Reference
from cargohold.storage.filesystem.tree import exists, is_missing, read_link, store_error
from cargohold.storage.filesystem.usage import UncountedError
from cargohold.storage.layout import flat
from cargohold.storage.locks import Busy
from cargohold.storage.protocols import Incomplete, StoreError, TagFixed, Unavailable
from cargohold.storage.totals import Sums, repository_shard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cargohold.storage.filesystem.leases import Terms
    from cargohold.types.digest import Digest
    from cargohold.types.names import RepositoryName, Tag
    from cargohold.types.oci import Manifest

_AT_ONCE = 16
_RETRIES = 8
_UNSURE_SECONDS = 60.0
"""After which a link is on the disk: file systems write down all names within half of that."""
_REMEMBERED_REFERENCES = 2_048


class _Push(NamedTuple):
    """A manifest that somebody wants stored, and the tags that shall lead to it; `fixed` ones must not be moved."""

    digest: Digest
    manifest: Manifest
    tags: Sequence[Tag]
    fixed: Sequence[Tag]
    complete: bool


class _Batch(NamedTuple):
    """Pushes into a repository, those that are `refused`, by their number, and the change that stores the others.

    What is `granted` must still be there when that is put into place.
    """

    repository: RepositoryName
    pushes: Sequence[_Push]
    change: Change
    refused: dict[int, StoreError]
    granted: set[str]

    @property
    def accepted(self) -> list[_Push]:
        """Those that are to be stored."""
        return [push for number, push in enumerate(self.pushes) if number not in self.refused]


class FilePushes(FileManifests):
    """The part of the store that stores manifests and moves tags."""

    def __init__(self, root: str, terms: Terms | None = None) -> None:
        super().__init__(root, terms)
        self._pushes: Batches[RepositoryName, _Push, None] = Batches(self._push_each, _AT_ONCE)
        self._reference = lru_cache(maxsize=_REMEMBERED_REFERENCES)(self._make_reference)

    async def commit_manifest(  # noqa: PLR0913 - all that is one step
        self,
        repository: RepositoryName,
        digest: Digest,
        manifest: Manifest,
        tags: Sequence[Tag],
        *,
        complete: bool = False,
        fixed: Callable[[Tag], bool] | None = None,
    ) -> None:
        push = _Push(digest, manifest, tags, tuple(filter(fixed, tags)) if fixed else (), complete)
        # A quota may have room for one and not for several.
        if self._groups(repository):
            refused = (await self._push_all(repository, [push]))[0]
            if refused is not None:
                raise refused
        else:
            await self._pushes.result(repository, push)
        self._contents.put(digest, manifest.content)

    async def _push_each(self, repository: RepositoryName, pushes: list[_Push]) -> Sequence[Exception | None]:
        return await each_for_itself(partial(self._push_all, repository), pushes)

    async def _push_all(
        self, repository: RepositoryName, pushes: Sequence[_Push]
    ) -> Sequence[StoreError | None]:
        """Why each is refused, or None: then it is stored, with one look at what several need, and one sync of it."""
        for _ in range(_RETRIES):
            change = Change(self.disk, self.layout.new)
            batch = _Batch(repository, pushes, change, {}, set())
            try:
                is_done = await self.in_metadata(self._push, batch, at_once=self.has_turn(repository))
                if is_done is None:
                    is_done = await self.counted(partial(self.in_turn, repository, self._store, batch))
                if is_done:
                    return [batch.refused.get(number) for number in range(len(pushes))]
            finally:
                if not change.is_placed:
                    await self.in_metadata(change.discard)
        raise Unavailable("the manifest's repository is changing too fast")

    def _push(self, batch: _Batch, *, at_once: bool) -> bool | None:
        """All in one call, where that can be done `at_once`; as `_store`.

        None where nothing is put into place yet, because that must wait for a lock, or until a quota's use is counted.
        """
        self._refuse_incomplete(batch)
        if not batch.accepted:
            return True
        planned: set[str] = set()
        for push in batch.accepted:
            self._plan(batch, push, planned)
        batch.change.stage()
        if not at_once:
            return None
        try:
            return self._store(batch)
        except (Busy, UncountedError):
            return None

    def _store(self, batch: _Batch) -> bool:
        """Whether all that was taken for granted is still there; else nothing is done."""
        if not self._place(batch):
            return False
        try:
            batch.change.settle()
        except OSError as error:
            # Not tried again: the system may have forgotten what it could not write.
            failure = store_error(error)
            for number in range(len(batch.pushes)):
                batch.refused.setdefault(number, failure)
        return True

    def _place(self, batch: _Batch) -> bool:
        """Under the locks of the contents too, so that none is collected before it is linked."""
        repository, pushes = batch.repository, batch.accepted
        contents = {push.digest: push.manifest.content for push in pushes}
        new = {d: len(content) for d, content in contents.items() if self.layout.data(d) not in batch.granted}
        with (
            self.taking(repository, partial(self._added_by_push, repository, contents)),
            self.locks.hold(repository, *contents),
        ):
            self._lease_references(batch, pushes)
            self._require_unmoved(repository, pushes)
            if not all(map(exists, batch.granted)):
                return False
            self.note_change(repository)
            self._mark(repository)
            with ExitStack() as noting:
                if not self.has_manifest(repository):
                    noting.callback(self._note_repository, repository)
                noting.enter_context(self.storing(new))
                batch.change.place()
            for digest in contents:
                for path in (self.layout.data(digest), self.layout.revision_link(repository, digest)):
                    # A folder in which a file has just been put has a new lease by that.
                    if path in batch.granted:
                        self.leases.renew(os.path.dirname(path))
            self._remember_link(repository, self.layout.revision_link(repository, pushes[-1].digest))
            return True

    def _note_repository(self, repository: RepositoryName) -> None:
        """It may have its first manifest now, even where what came with that has failed."""
        if self.has_manifest(repository):
            self.noted.add(repository_shard(repository), Sums(repositories=1))

    def _added_by_push(self, repository: RepositoryName, contents: dict[Digest, bytes]) -> int:
        """How many bytes the repository holds more, once it has these manifests."""
        return sum(
            len(content)
            for digest, content in contents.items()
            if not exists(self.layout.revision_link(repository, digest))
        )

    def _require_unmoved(self, repository: RepositoryName, pushes: Iterable[_Push]) -> None:
        """Nor may one of them move what another, before it, has set. Raises TagFixed."""
        moved: dict[Tag, Digest] = {}
        for push in pushes:
            for tag in push.fixed:
                found = moved.get(tag) or read_link(self.layout.tag_current(repository, tag))
                if found is not None and found != push.digest:
                    raise TagFixed(tag, found)
                moved[tag] = push.digest

    def _make_reference(self, repository: RepositoryName, digest: Digest) -> Reference:
        layer, revision = self.layout.layer(repository, digest), self.layout.revision(repository, digest)
        content = Place(self.layout.blob(digest), "data")
        return Reference(digest, Place(layer, "link"), Place(revision, "link"), content)

    def _refuse_incomplete(self, batch: _Batch) -> None:
        """Those that lack something; what comes before one of them is there for it."""
        coming: set[Digest] = set()
        for number, push in enumerate(batch.pushes):
            missing = self._missing_of(batch.repository, push, coming) if push.complete else []
            if missing:
                batch.refused[number] = Incomplete(missing)
            else:
                coming.add(push.digest)

    def _missing_of(self, repository: RepositoryName, push: _Push, coming: set[Digest]) -> list[Digest]:
        """What a manifest references that is new to us, and is missing: looked for before anything is written.

        The rest was there a moment ago, and is looked at once, under the lock, or is `coming` before it.
        """
        blobs = [self._reference(repository, digest) for digest in push.manifest.blobs]
        children = [self._reference(repository, digest) for digest in push.manifest.manifests]

        def missing(*, also_known: bool) -> list[Digest]:
            lacking = [each.digest for each in blobs if also_known or not each.layer.is_known]
            new = [each for each in children if also_known or not each.revision.is_known]
            # The child of an index may be a blob too.
            lacking += [e.digest for e in new if e.digest not in coming and e.revision.look() is None]
            return self._missing_blobs(repository, lacking)

        # Who is told of one is told of all.
        return missing(also_known=True) if missing(also_known=False) else []

    def _lease_references(self, batch: _Batch, pushes: Iterable[_Push]) -> None:
        """Under the repository's lock: what is there now stays.

        Of what is not Incomplete is raised, where that matters.
        """
        is_blob: dict[Digest, bool] = {}
        is_child: dict[Digest, bool] = {}
        for push in pushes:
            for digest in push.manifest.blobs:
                if digest not in is_blob:
                    is_blob[digest] = self._is_blob(batch, digest)
            for digest in push.manifest.manifests:
                if digest not in is_child:
                    is_child[digest] = self._is_child(batch, digest)
            if push.manifest.subject is not None:
                self._lease(self._reference(batch.repository, push.manifest.subject).revision)
            missing = [digest for digest in push.manifest.blobs if not is_blob[digest]]
            missing += [digest for digest in push.manifest.manifests if not is_child[digest]]
            if missing and push.complete:
                raise Incomplete(missing)
            is_child[push.digest] = True

    def _is_blob(self, batch: _Batch, digest: Digest) -> bool:
        reference = self._reference(batch.repository, digest)
        return self._rely_on(batch, reference, reference.layer)

    def _is_child(self, batch: _Batch, digest: Digest) -> bool:
        reference = self._reference(batch.repository, digest)
        is_manifest = self._rely_on(batch, reference, reference.revision)
        return self._rely_on(batch, reference, reference.layer) or is_manifest

    def _rely_on(self, batch: _Batch, reference: Reference, place: Place) -> bool:
        """As `_lease`; what was linked a moment ago, and may not be synced yet, is made durable with the batch.

        Whether it is there: a manifest when it is linked, a blob when its content is there too.
        """
        link = self._lease(place)
        if link is None:
            return False
        data, content = reference.content, reference.content.look()
        if time.time() - link.written < _UNSURE_SECONDS:
            if not self.disk.has_settled(place.folder, link.proof):
                batch.change.rely_on(place.path)
            if content is None or not self.disk.has_settled(data.folder, content.proof):
                batch.change.rely_on(data.path)
        return (
            content is not None
            or place is reference.revision
            or self._has_blob(batch.repository, reference.digest)
        )

    def _plan(self, batch: _Batch, push: _Push, planned: set[str]) -> None:
        """Add what stores a manifest to the change, in the order in which it must appear.

        What was `planned` for another one is the same, since its path says what is in it.
        """
        repository, (digest, manifest, tags, *_), change = batch.repository, push, batch.change

        def add(path: str, content: bytes, *, folder_first: bool = False) -> None:
            if path not in planned:
                planned.add(path)
                change.file(path, content, folder_first=folder_first)

        def add_unless_there(path: str, content: bytes) -> None:
            if is_missing(path):
                add(path, content)
            else:
                batch.granted.add(path)
                change.rely_on(path)

        data = self.layout.data(digest)
        if _holds(data, manifest.content):
            batch.granted.add(data)
            change.rely_on(data)
        else:
            add(data, manifest.content, folder_first=True)
        referrer = manifest.referrer(digest)
        if referrer is not None:
            folder = self.layout.referrers(repository, referrer.subject)
            add_unless_there(f"{folder}/{flat(digest)}", referrer.descriptor)
        # Not its folder first: one that a kill leaves without a link is looked at whenever referrers are listed.
        revision, link = self.layout.revision_link(repository, digest), digest.encode()
        add_unless_there(revision, link)
        for tag in dict.fromkeys(tags):
            former = f"{self.layout.tag_index(repository, tag, digest)}/link"
            if not is_missing(former):
                batch.granted.add(former)
            elif former not in planned:
                planned.add(former)
                # Nobody reads it: what the tag points to is what counts.
                change.alike(former, revision, link, is_lasting=False)
            change.replace(self.layout.tag_current(repository, tag), link)

    def _mark(self, repository: RepositoryName) -> None:
        """Before the first manifest: the catalog must not miss a repository. A lost mark is found by the next walk."""
        mark = self.layout.catalog_mark(repository)
        if not exists(mark):
            self.disk.make_folders(self.layout.catalog)
            os.close(disk.open_file(mark, is_new=False))


def _holds(path: str, content: bytes) -> bool:
    """Whether a file has these very bytes: a manifest that was damaged is mended by whoever pushes it again."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return os.read(descriptor, len(content) + 1) == content
    finally:
        os.close(descriptor)
