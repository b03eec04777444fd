"""Manifests and tags that go: written down, out of the tree in one step each, and removed from the disk after that.

The record of a deletion and its name are synced before anything is taken out, so that no power cut leaves the one
without the other. A record whose deletion did not come about, after a kill in between, has nothing to undo.
"""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from cargohold.storage.batches import Batches
from cargohold.storage.durable import remove
from cargohold.storage.filesystem.manifests import FileManifests
from cargohold.storage.filesystem.trash import FileTrash
from cargohold.storage.filesystem.tree import exists, is_absence, read_link, store_error
from cargohold.storage.locks import MOMENT, Busy
from cargohold.storage.proofs import is_exact
from cargohold.storage.protocols import Full, NotFound, StoreError
from cargohold.storage.totals import Sums, repository_shard
from cargohold.storage.trash import DELETED, TAG_DELETED, Record, Why, new_record
from cargohold.types.errors import TagInvalid
from cargohold.types.names import Tag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cargohold.storage.filesystem.leases import Terms
    from cargohold.storage.trash import Cause
    from cargohold.types.digest import Digest
    from cargohold.types.names import RepositoryName

_WANTED: Final = frozenset({Why.DELETED, Why.TAG_DELETED})
_MOST_AT_ONCE: Final = 64

_log = logging.getLogger(__name__)


class _Taken(NamedTuple):
    """What is out of the tree, where it is now, and the folders that it was in."""

    paths: list[str]
    changed: set[str]


class _State(NamedTuple):
    """What is another one after each manifest that is stored or tagged, and each tag that another server makes."""

    noted: int
    tags: int


class Asked(NamedTuple):
    """The deletion of a manifest that somebody asked for."""

    digest: Digest
    cause: Cause


class FileDeletion(FileManifests, FileTrash):
    """The part of the store that deletes manifests and tags.

    Those manifests go together that are to be deleted in a repository while others are being deleted there: all tags
    are looked at once for them, and each folder is synced once.
    """

    def __init__(self, root: str, terms: Terms | None = None) -> None:
        super().__init__(root, terms)
        self._deletions = Batches(self._delete_asked, _MOST_AT_ONCE)

    async def delete_manifest(
        self, repository: RepositoryName, digest: Digest, cause: Cause = DELETED
    ) -> list[Tag]:
        return await self._deletions.result(repository, Asked(digest, cause))

    async def _delete_asked(
        self, repository: RepositoryName, asked: list[Asked]
    ) -> list[list[Tag] | StoreError]:
        """Of each the tags that went with it."""
        announced: list[Record | StoreError] = []
        begun: list[bool] = []
        remove = partial(self._remove, repository, announced, lambda: begun.append(True))
        is_at_once = self.has_turn(repository)
        try:
            done = await self.in_metadata(
                self._delete, repository, asked, announced, remove, at_once=is_at_once
            )
            return await self.in_turn(repository, remove) if done is None else done
        except (Busy, asyncio.CancelledError):
            if not begun:
                names = [each.name for each in announced if isinstance(each, Record)]
                await self.drop_records(repository, names)
            raise

    def _delete(
        self,
        repository: RepositoryName,
        asked: list[Asked],
        announced: list[Record | StoreError],
        remove: Callable[..., list[list[Tag] | StoreError]],
        *,
        at_once: bool,
    ) -> list[list[Tag] | StoreError] | None:
        """Add what has been written of each to `announced`, and remove them in the same call where that can be done.

        The tags; None where they are to be removed still.
        """
        refused = [self._refusal(repository, each.digest) for each in asked]
        if None not in refused:
            return [each for each in refused if each is not None]
        state = self._noted_state(repository) if at_once else None
        announced += self.announce(repository, asked)
        if at_once:
            with suppress(Busy):
                return remove(state=state)
        return None

    def _noted_state(self, repository: RepositoryName) -> _State | None:
        """What it is while nothing is half stored; None where that cannot be known."""
        with suppress(Busy), self.locks.hold(repository):
            state = self._state_of(repository)
            return state if all(time == 0 or is_exact(time) for time in state) else None
        return None

    def _state_of(self, repository: RepositoryName) -> _State:
        return _State(self.state_of(repository), _time_of(self.layout.tags(repository)))

    def announce(self, repository: RepositoryName, asked: Sequence[Asked]) -> list[Record | StoreError]:
        """Write down that manifests are going to be deleted; what has been written of each that is there."""
        refused = {each.digest: self._refusal(repository, each.digest) for each in asked}
        tags = self._tags_to(repository, [digest for digest, refusal in refused.items() if refusal is None])
        found = [
            refused[each.digest] or self._new_record(each.digest, tags[each.digest], each.cause, whole=True)
            for each in asked
        ]
        self._write_down(repository, [each for each in found if isinstance(each, Record)])
        return found

    def _refusal(self, repository: RepositoryName, digest: Digest) -> StoreError | None:
        """Why a manifest cannot be deleted, as far as can be told without trying."""
        try:
            return None if exists(self.layout.revision_link(repository, digest)) else NotFound(digest)
        except OSError as error:
            return store_error(error)

    def _new_record(self, digest: Digest, tags: list[Tag], cause: Cause, *, whole: bool) -> Record:
        return new_record(digest, tags, cause, whole=whole, content=self._content_of(digest))

    def _write_down(self, repository: RepositoryName, records: list[Record]) -> None:
        """On a disk that is full, what somebody wants deleted goes without: he may be making room."""
        if not records:
            return
        try:
            self.keep_records(repository, records)
        except OSError as error:
            if not isinstance(store_error(error), Full):
                raise
            if len(records) > 1:
                for each in records:
                    self._write_down(repository, [each])
            elif records[0].cause.why in _WANTED:
                _log.warning(
                    "no room to write down that %s is deleted in %s: it cannot be restored",
                    records[0].digest,
                    repository,
                )
            else:
                raise

    def _content_of(self, digest: Digest) -> bytes | None:
        """None where it is damaged or gone: what cannot be read can still be deleted."""
        try:
            return self.read_content(digest)
        except (StoreError, OSError):
            return None

    def _tags_to(self, repository: RepositoryName, digests: Iterable[Digest]) -> dict[Digest, list[Tag]]:
        """Of each manifest the tags that point to it now. Every tag is read: another server may have moved any."""
        found: dict[Digest, list[Tag]] = {digest: [] for digest in digests}
        if not found:
            return found
        try:
            descriptor = os.open(self.layout.tags(repository), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            if is_absence(error):
                return found
            raise
        try:
            for name in os.listdir(descriptor):
                target = read_link(f"{name}/current/link", within=descriptor)
                if target in found:
                    with suppress(TagInvalid):
                        found[target].append(Tag(name))
        finally:
            os.close(descriptor)
        return found

    def remove_manifest(
        self, repository: RepositoryName, record: Record, require: Callable[[], None], seconds: float
    ) -> list[Tag]:
        """Remove the manifest of a record that has been written, if `require`, under the lock, does not raise.

        Waits for the lock for so many seconds. Raises Busy, and NotFound.
        """
        (done,) = self._remove(repository, [record], require, seconds)
        if isinstance(done, StoreError):
            raise done
        return done

    def _remove(
        self,
        repository: RepositoryName,
        records: Sequence[Record | StoreError],
        require: Callable[[], None] = lambda: None,
        seconds: float = MOMENT,
        *,
        state: _State | None = None,
    ) -> list[list[Tag] | StoreError]:
        """Remove the manifests of these records: of each the tags that went with it, or why it could not be removed.

        Raises Busy.

        The records tell all tags that lead to them, where the repository's state is `state` still.
        """
        announced = {each.digest: list(each.tags) for each in records if isinstance(each, Record)}
        taken = _Taken([], set())
        with self.locks.hold(repository, seconds=seconds):
            require()
            is_known = state is not None and self._state_of(repository) == state
            tags = announced if is_known else self._tags_to(repository, announced)
            done = [
                self._take_out_or_tell(repository, each, tags[each.digest], taken)
                if isinstance(each, Record)
                else each
                for each in records
            ]
            if taken.changed and not self.has_manifest(repository):
                remove(self.layout.catalog_mark(repository))
                self.noted.add(repository_shard(repository), Sums(repositories=-1))
        self.disk.sync_folders(taken.changed)
        for path in taken.paths:
            self.disk.removals.later(path)
        return done

    def _take_out_or_tell(
        self, repository: RepositoryName, record: Record, tags: list[Tag], taken: _Taken
    ) -> list[Tag] | StoreError:
        """What is in the way of one keeps no other from being deleted."""
        try:
            return self._take_out(repository, record, tags, taken)
        except OSError as error:
            return store_error(error)

    def _take_out(
        self, repository: RepositoryName, record: Record, tags: list[Tag], taken: _Taken
    ) -> list[Tag] | StoreError:
        """Tags first: a reader may find the manifest without its tag, but not the tag without its manifest."""
        folder = self.layout.revision(repository, record.digest)
        if not exists(f"{folder}/link"):
            self.drop_record(repository, record.name)
            return NotFound(record.digest)
        if not {*record.tags}.issuperset(tags):
            # Tagged since then, which is rare: so it is written anew under the lock, however long that takes.
            self._write_down(repository, [self._new_record(record.digest, tags, record.cause, whole=True)])
            self.drop_record(repository, record.name)
        taken.changed.add(os.path.dirname(folder))
        removed: list[Tag] = []
        for tag in tags:
            # Another server, which takes no lock, may move it, or be first to remove it.
            if self.points_to(repository, tag, record.digest):
                with suppress(FileNotFoundError):
                    taken.paths.append(self.away(self.layout.tag(repository, tag)))
                taken.changed.add(self.layout.tags(repository))
                removed.append(tag)
        with suppress(FileNotFoundError):
            taken.paths.append(self.away(folder))
        return removed

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
        return None if digest is None else self._announce_tag_at(repository, tag, digest, cause)

    def _announce_tag_at(self, repository: RepositoryName, tag: Tag, digest: Digest, cause: Cause) -> Record:
        record = self._new_record(digest, [tag], cause, whole=False)
        self._write_down(repository, [record])
        return record

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
                self._announce_tag_at(repository, tag, digest, cause)
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
