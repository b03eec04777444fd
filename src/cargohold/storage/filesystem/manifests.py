"""Manifests and tags: revisions under the repository's lock, tags that appear and go as whole folders."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import suppress
from functools import lru_cache, partial
from typing import TYPE_CHECKING, NamedTuple

from cargohold.storage import disk
from cargohold.storage.durable import Change
from cargohold.storage.filesystem.content import ContentCache, read_at_once
from cargohold.storage.filesystem.tree import (
    exists,
    folder_names,
    is_absence,
    read_file,
    read_link,
    size_of,
    store_error,
    told,
)
from cargohold.storage.filesystem.usage import FileUsage, UncountedError
from cargohold.storage.layout import flat
from cargohold.storage.locks import Busy
from cargohold.storage.protocols import Incomplete, NotFound, TagFixed, Unavailable
from cargohold.storage.totals import Sums, repository_shard
from cargohold.types.digest import Algorithm, Digest
from cargohold.types.errors import TagInvalid
from cargohold.types.names import Tag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cargohold.storage.filesystem.leases import Terms
    from cargohold.types.names import RepositoryName
    from cargohold.types.oci import Manifest

_FEW = 32
_RETRIES = 8
_UNSURE_SECONDS = 60.0
"""After which a link is on the disk: file systems write down all names within half of that."""
_REMEMBERED_LINKS = 4_096


class _Push(NamedTuple):
    """What is to be stored, and the change that does so.

    What is decided under the repository's lock: `fixed` tags must not move, and what is `granted` must still be there.
    """

    repository: RepositoryName
    digest: Digest
    manifest: Manifest
    tags: Sequence[Tag]
    fixed: Sequence[Tag]
    complete: bool
    change: Change
    granted: list[str]


class FileManifests(FileUsage):
    """The part of the store that keeps manifests and tags; what lists them is in `FileLists`."""

    def __init__(self, root: str, terms: Terms | None = None) -> None:
        super().__init__(root, terms)
        self._contents = ContentCache()
        # To make a path costs as much as to ask the system about it.
        self._tag_link = lru_cache(maxsize=1024)(self.layout.tag_current)
        self._manifest_link = lru_cache(maxsize=1024)(self.layout.revision_link)
        self._links: dict[RepositoryName, str] = {}

    async def resolve_tag(self, repository: RepositoryName, tag: Tag) -> Digest:
        try:
            digest = read_link(self._tag_link(repository, tag))
        except OSError as error:
            raise store_error(error) from error
        if digest is None:
            raise NotFound(tag)
        return digest

    async def read_manifest(self, repository: RepositoryName, digest: Digest) -> bytes:
        try:
            is_here = exists(self._manifest_link(repository, digest))
        except OSError as error:
            raise store_error(error) from error
        if not is_here:
            raise NotFound(digest)
        content = self._contents.get(digest)
        if content is None:
            content = read_at_once(self.layout.data(digest), self.layout.blobs)
            # A thread costs ten times what it takes to read a few thousand bytes.
            if content is None or not digest.names(content):
                content = await self.in_metadata(self.read_content, digest)
            self._contents.put(digest, content)
        return content

    def read_content(self, digest: Digest) -> bytes:
        """Read once and check: what is kept in memory is what the digest says."""
        try:
            with open(self.layout.data(digest), "rb", buffering=0) as file:
                content = file.read()
        except FileNotFoundError:
            raise NotFound(digest) from None
        if not digest.names(content):
            raise Unavailable(f"the stored bytes of manifest {digest} are damaged")
        return content

    async def lease_manifest(
        self, repository: RepositoryName, digest: Digest, patience: float | None = None
    ) -> None:
        folder = self.layout.revision(repository, digest)
        try:
            # In this order: what is collected in between is not here, and what is made is leased.
            is_due, is_here = self.leases.is_due(folder), exists(f"{folder}/link")
        except OSError as error:
            raise store_error(error) from error
        if not is_here:
            raise NotFound(digest)
        if is_due:
            # Few wait, and a timer costs more than all the rest.
            async with asyncio.timeout(patience):
                await self.in_turn(repository, self.lease_link, repository, folder)

    async def missing_manifests(self, repository: RepositoryName, digests: Sequence[Digest]) -> list[Digest]:
        if len(digests) > _FEW:
            return await self.in_metadata(self._missing_manifests, repository, digests)
        with told():
            return self._missing_manifests(repository, digests)

    def _missing_manifests(self, repository: RepositoryName, digests: Sequence[Digest]) -> list[Digest]:
        return [d for d in digests if not exists(f"{self.layout.revision(repository, d)}/link")]

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
        """Stage without the lock, then look under it whether what was taken for granted is still there."""
        moved = tuple(filter(fixed, tags)) if fixed else ()
        for _ in range(_RETRIES):
            change = Change(self.disk, self.layout.new)
            push = _Push(repository, digest, manifest, tags, moved, complete, change, [])
            try:
                is_done = await self.in_metadata(self._push, push, at_once=self.has_turn(repository))
                if is_done is None:
                    is_done = await self.counted(partial(self.in_turn, repository, self._place, push))
                    if is_done:
                        await self.in_metadata(change.settle)
                if is_done:
                    self._contents.put(digest, manifest.content)
                    return
            finally:
                if not change.is_placed:
                    await self.in_metadata(change.discard)
        raise Unavailable("the manifest's repository is changing too fast")

    def _push(self, push: _Push, *, at_once: bool) -> bool | None:
        """All in one call, where that can be done `at_once`; whether it was.

        None where nothing is put into place yet, because that must wait for a lock, or until a quota's use is counted.
        """
        self._plan(push)
        push.change.stage()
        if not at_once:
            return None
        try:
            is_done = self._place(push)
        except (Busy, UncountedError):
            return None
        if is_done:
            push.change.settle()
        return is_done

    def _place(self, push: _Push) -> bool:
        """Under the lock of the content too, so that it is not collected before it is linked."""
        repository, digest = push.repository, push.digest
        with self.taking(repository, partial(self._added_by_push, push)), self.locks.hold(repository, digest):
            self._require_unmoved(push)
            if not all(map(exists, push.granted)):
                return False
            self._lease_references(push)
            self.note_change(repository)
            self._mark(repository)
            is_first = not self.has_manifest(repository)
            with self.storing(digest, len(push.manifest.content)):
                push.change.place()
            for folder in (self.layout.blob(digest), self.layout.revision(repository, digest)):
                self.leases.renew(folder)
            self._remember_link(repository, f"{self.layout.revision(repository, digest)}/link")
            if is_first:
                self.noted.add(repository_shard(repository), Sums(repositories=1))
            return True

    def _added_by_push(self, push: _Push) -> int:
        """How many bytes the repository holds more, once it has the manifest."""
        is_here = exists(f"{self.layout.revision(push.repository, push.digest)}/link")
        return 0 if is_here else len(push.manifest.content)

    def _require_unmoved(self, push: _Push) -> None:
        for tag in push.fixed:
            found = read_link(self.layout.tag_current(push.repository, tag))
            if found is not None and found != push.digest:
                raise TagFixed(tag, found)

    def _lease_references(self, push: _Push) -> None:
        """Under the repository's lock: what is there now stays, and what is not is told where that matters."""
        repository, manifest = push.repository, push.manifest
        missing = [
            digest
            for digest in manifest.blobs
            if not self._rely_on(push, self.layout.layer(repository, digest), digest)
        ]
        for digest in manifest.manifests:
            is_manifest = self._rely_on(push, self.layout.revision(repository, digest), digest)
            # The child of an index may be a blob too.
            if not self._rely_on(push, self.layout.layer(repository, digest), digest) and not is_manifest:
                missing.append(digest)
        if manifest.subject is not None:
            self._lease(self.layout.revision(repository, manifest.subject))
        if missing and push.complete:
            raise Incomplete(missing)

    def _rely_on(self, push: _Push, folder: str, digest: Digest) -> bool:
        """As `_lease`; what was linked a moment ago, and may not be synced yet, is made durable with the push."""
        linked = self._lease(folder)
        if linked is not None and time.time() - linked < _UNSURE_SECONDS:
            push.change.rely_on(f"{folder}/link")
            push.change.rely_on(self.layout.data(digest))
        return linked is not None

    def _lease(self, folder: str) -> float | None:
        """Renew the lease on a link; when it was made, and None where there is none."""
        try:
            linked = os.stat(f"{folder}/link").st_mtime
        except OSError as error:
            if is_absence(error):
                return None
            raise
        self.leases.renew(folder)
        return linked

    def lease_link(self, repository: RepositoryName, folder: str) -> None:
        """Renew the lease on a link of a repository. Raises NotFound."""
        with self.locks.hold(repository):
            if self._lease(folder) is None:
                raise NotFound(folder)

    def note_change(self, repository: RepositoryName) -> None:
        """Under the repository's lock, before a manifest or tag is stored: who looked at them knows that it is so."""
        with suppress(FileNotFoundError):
            self.disk.touch(os.path.dirname(self.layout.revisions(repository)))

    def state_of(self, repository: RepositoryName) -> int:
        """A number that is another one after each manifest that is stored or tagged there; 0 where there is none.

        Only under the repository's lock is nothing half stored, so that what comes later changes what was read there.
        """
        try:
            return os.stat(os.path.dirname(self.layout.revisions(repository))).st_mtime_ns
        except FileNotFoundError:
            return 0

    def _plan(self, push: _Push) -> None:
        """Fill the change in the order in which it must appear, and note the paths that it takes for granted."""
        repository, digest, manifest, change = push.repository, push.digest, push.manifest, push.change

        def add(path: str, content: bytes) -> None:
            if exists(path):
                push.granted.append(path)
                change.rely_on(path)
            else:
                change.file(path, content)

        data = self.layout.data(digest)
        if _holds(data, manifest.content):
            push.granted.append(data)
            change.rely_on(data)
        else:
            change.file(data, manifest.content)
        referrer = manifest.referrer(digest)
        if referrer is not None:
            add(f"{self.layout.referrers(repository, referrer.subject)}/{flat(digest)}", referrer.descriptor)
        add(f"{self.layout.revision(repository, digest)}/link", digest.encode())
        for tag in dict.fromkeys(push.tags):
            former = f"{self.layout.tag_index(repository, tag, digest)}/link"
            if exists(former):
                push.granted.append(former)
            else:
                # Nobody reads it: what the tag points to is what counts.
                change.file(former, digest.encode(), may_be_lost=True)
            change.replace(self.layout.tag_current(repository, tag), digest.encode())

    def _mark(self, repository: RepositoryName) -> None:
        """Before the first manifest: the catalog must not miss a repository. A lost mark is found by the next walk."""
        mark = self.layout.catalog_mark(repository)
        if not exists(mark):
            self.disk.make_folders(self.layout.catalog)
            os.close(disk.open_file(mark, is_new=False))

    def tags_of(self, repository: RepositoryName) -> Iterator[Tag]:
        for name in folder_names(self.layout.tags(repository)):
            with suppress(TagInvalid):
                yield Tag(name)

    def points_to(self, repository: RepositoryName, tag: Tag, digest: Digest) -> bool:
        return read_link(self.layout.tag_current(repository, tag)) == digest

    def has_manifest(self, repository: RepositoryName) -> bool:
        """Whether the repository exists: it holds at least one manifest."""
        known = self._links.get(repository)
        if known is not None and exists(known):
            return True
        found = next(self._links_of(repository), None)
        if found is not None:
            self._remember_link(repository, found)
        return found is not None

    def _links_of(self, repository: RepositoryName) -> Iterator[str]:
        """The links of the manifests of a repository: there may be very many."""
        for algorithm in Algorithm:
            with (
                suppress(FileNotFoundError, NotADirectoryError),
                os.scandir(f"{self.layout.revisions(repository)}/{algorithm.value}") as entries,
            ):
                for entry in entries:
                    if exists(link := f"{entry.path}/link"):
                        yield link

    def _remember_link(self, repository: RepositoryName, link: str) -> None:
        """Where to look first; a few hundred bytes each."""
        if len(self._links) >= _REMEMBERED_LINKS:
            self._links.clear()
        self._links[repository] = link


def _holds(path: str, content: bytes) -> bool:
    """Whether a file has these very bytes: a manifest that was damaged is mended by whoever pushes it again."""
    try:
        return size_of(path) == len(content) and read_file(path) == content
    except FileNotFoundError:
        return False
