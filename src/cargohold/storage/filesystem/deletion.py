"""Manifests and tags that go: written down, out of the tree in one step each, and removed from the disk after that.

The record of a deletion and its name are synced before anything is taken out, so that no power cut leaves the one
without the other. A record whose deletion did not come about, after a kill in between, has nothing to undo.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from cargohold.storage.durable import remove
from cargohold.storage.filesystem.manifests import FileManifests
from cargohold.storage.filesystem.trash import FileTrash
from cargohold.storage.filesystem.tree import exists, read_link, store_error
from cargohold.storage.locks import MOMENT, Busy
from cargohold.storage.proofs import is_exact
from cargohold.storage.protocols import Full, NotFound, StoreError
from cargohold.storage.totals import Sums, repository_shard
from cargohold.storage.trash import DELETED, TAG_DELETED, Why, new_record

if TYPE_CHECKING:
    from collections.abc import Callable

    from cargohold.storage.trash import Cause, Record
    from cargohold.types.digest import Digest
    from cargohold.types.names import RepositoryName, Tag

_WANTED: Final = frozenset({Why.DELETED, Why.TAG_DELETED})

_log = logging.getLogger(__name__)


class _State(NamedTuple):
    """What is another one after each manifest that is stored or tagged, and each tag that another server makes."""

    noted: int
    tags: int


class FileDeletion(FileManifests, FileTrash):
    """The part of the store that deletes manifests and tags."""

    async def delete_manifest(
        self, repository: RepositoryName, digest: Digest, cause: Cause = DELETED
    ) -> list[Tag]:
        record, tags = await self.in_metadata(
            self._delete, repository, digest, cause, at_once=self.has_turn(repository)
        )
        if tags is not None:
            return tags
        try:
            return await self.in_turn(repository, self.remove_manifest, repository, record)
        except Busy:
            await self.drop_records(repository, [record.name])
            raise

    def _delete(
        self, repository: RepositoryName, digest: Digest, cause: Cause, *, at_once: bool
    ) -> tuple[Record, list[Tag] | None]:
        """Announce it, and remove it in the same call where that can be done `at_once`: the tags, None where not."""
        state = self._noted_state(repository) if at_once else None
        record = self.announce_manifest(repository, digest, cause)
        if at_once:
            with suppress(Busy):
                return record, self.remove_manifest(repository, record, state=state)
        return record, None

    def _noted_state(self, repository: RepositoryName) -> _State | None:
        """What it is while nothing is half stored; None where that cannot be known."""
        with suppress(Busy), self.locks.hold(repository):
            state = self._state_of(repository)
            return state if all(time == 0 or is_exact(time) for time in state) else None
        return None

    def _state_of(self, repository: RepositoryName) -> _State:
        return _State(self.state_of(repository), _time_of(self.layout.tags(repository)))

    def announce_manifest(self, repository: RepositoryName, digest: Digest, cause: Cause) -> Record:
        if not exists(f"{self.layout.revision(repository, digest)}/link"):
            raise NotFound(digest)
        return self._announce(repository, digest, self._tags_to(repository, digest), cause, whole=True)

    def _announce(
        self, repository: RepositoryName, digest: Digest, tags: list[Tag], cause: Cause, *, whole: bool
    ) -> Record:
        """Write it down; on a disk that is full, what somebody wants deleted goes without: he may be making room."""
        record = new_record(digest, tags, cause, whole=whole, content=self._content_of(digest))
        try:
            self.keep_record(repository, record)
        except OSError as error:
            if cause.why not in _WANTED or not isinstance(store_error(error), Full):
                raise
            _log.warning(
                "no room to write down that %s is deleted in %s: it cannot be restored", digest, repository
            )
        return record

    def _content_of(self, digest: Digest) -> bytes | None:
        """None where it is damaged or gone: what cannot be read can still be deleted."""
        try:
            return self.read_content(digest)
        except (StoreError, OSError):
            return None

    def _tags_to(self, repository: RepositoryName, digest: Digest) -> list[Tag]:
        return [tag for tag in self.tags_of(repository) if self.points_to(repository, tag, digest)]

    def remove_manifest(
        self,
        repository: RepositoryName,
        record: Record,
        require: Callable[[], None] = lambda: None,
        seconds: float = MOMENT,
        *,
        state: _State | None = None,
    ) -> list[Tag]:
        """Remove the manifest of a record that has been written, if `require`, under the lock, does not raise.

        The record tells all tags that lead to it, where the repository's state is `state` still.

        Tags first: a reader may find the manifest without its tag, but not the tag without its manifest. Waits for the
        lock for so many seconds. Raises Busy, and NotFound.
        """
        folder = self.layout.revision(repository, record.digest)
        tags: list[Tag] = []
        gone: list[str] = []
        changed = {os.path.dirname(folder)}
        with self.locks.hold(repository, seconds=seconds):
            require()
            if not exists(f"{folder}/link"):
                self.drop_record(repository, record.name)
                raise NotFound(record.digest)
            is_known = state is not None and self._state_of(repository) == state
            found = list(record.tags) if is_known else self._tags_to(repository, record.digest)
            if not {*record.tags}.issuperset(found):
                # Tagged since then, which is rare: so it is written anew under the lock, however long that takes.
                self._announce(repository, record.digest, found, record.cause, whole=True)
                self.drop_record(repository, record.name)
            for tag in found:
                # Another server, which takes no lock, may move it, or be first to remove it.
                if self.points_to(repository, tag, record.digest):
                    with suppress(FileNotFoundError):
                        gone.append(self.away(self.layout.tag(repository, tag)))
                    changed.add(self.layout.tags(repository))
                    tags.append(tag)
            with suppress(FileNotFoundError):
                gone.append(self.away(folder))
            if not self.has_manifest(repository):
                remove(self.layout.catalog_mark(repository))
                self.noted.add(repository_shard(repository), Sums(repositories=-1))
        self.disk.sync_folders(changed)
        for path in gone:
            self.disk.removals.later(path)
        return tags

    async def delete_tag(self, repository: RepositoryName, tag: Tag, cause: Cause = TAG_DELETED) -> None:
        record = await self.in_metadata(self._announce_tag, repository, tag, cause)
        try:
            await self.in_turn(repository, self.remove_tag, repository, tag, cause, record)
        except Busy:
            if record is not None:
                await self.drop_records(repository, [record.name])
            raise

    def _announce_tag(self, repository: RepositoryName, tag: Tag, cause: Cause) -> Record | None:
        """None for a tag that points to nothing: there is nothing to bring back."""
        current = self.layout.tag_current(repository, tag)
        if not exists(current):
            raise NotFound(tag)
        digest = read_link(current)
        return None if digest is None else self._announce(repository, digest, [tag], cause, whole=False)

    def remove_tag(  # noqa: PLR0913, PLR0917 - what is removed, why, and on which terms
        self,
        repository: RepositoryName,
        tag: Tag,
        cause: Cause,
        record: Record | None = None,
        require: Callable[[], None] = lambda: None,
        seconds: float = MOMENT,
    ) -> None:
        """Remove a tag, if `require`, under the lock, does not raise; `record` is of it, where one has been written.

        Waits for the lock for so many seconds. Raises Busy, and NotFound.
        """
        with self.locks.hold(repository, seconds=seconds):
            require()
            current = self.layout.tag_current(repository, tag)
            digest = read_link(current)
            if record is not None and record.digest != digest:
                # Moved or removed since then.
                self.drop_record(repository, record.name)
                record = None
            if not exists(current):
                raise NotFound(tag)
            if record is None and digest is not None:
                self._announce(repository, digest, [tag], cause, whole=False)
            try:
                gone = self.away(self.layout.tag(repository, tag))
            except FileNotFoundError:
                raise NotFound(tag) from None
        self.disk.sync_folder(self.layout.tags(repository))
        self.disk.removals.later(gone)

    async def read_deleted(self, repository: RepositoryName, digest: Digest) -> bytes:  # noqa: ARG002 - content is kept once
        return await self.in_metadata(self.read_content, digest)


def _time_of(folder: str) -> int:
    try:
        return os.stat(folder).st_mtime_ns
    except FileNotFoundError:
        return 0
