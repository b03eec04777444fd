"""The trash: what was deleted and can be restored for a while, and the end of that."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import msgspec

from cargohold.registry.restoring import Restoring, Unrestorable, target, went_with_it
from cargohold.storage.trash import Record
from cargohold.types.names import RepositoryName, Tag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cargohold.registry.immutable import ImmutableTags
    from cargohold.registry.restoring import Restored
    from cargohold.storage.protocols import Store
    from cargohold.types.names import Reference


class Deleted(msgspec.Struct, frozen=True):
    """A deletion that can be undone until then, in seconds since the epoch."""

    repository: RepositoryName
    record: Record
    until: float


class Trash:
    """What was deleted within the last `keep` seconds, on the terms on which manifests are pushed."""

    def __init__(
        self,
        store: Store,
        *,
        keep: float,
        allow_sparse: bool = False,
        immutable: ImmutableTags | None = None,
    ) -> None:
        self._store = store
        self._keep = keep
        self._allow_sparse = allow_sparse
        self._immutable = immutable

    async def deletions(
        self, wanted: Callable[[RepositoryName], object], unreadable: Callable[[str, str], None]
    ) -> list[Deleted]:
        """The deletions that can be undone, and of which something is not back yet; by repository, the oldest first.

        Of repositories that are wanted. `unreadable` is called with each record that cannot be read, and why not.
        """
        return [
            Deleted(repository, record, record.until(self._keep))
            for repository in await self._repositories(wanted)
            for record in await self._restorable(repository, unreadable)
            if await self._is_missing(repository, record)
        ]

    async def restore(
        self, repository: RepositoryName, reference: Reference, *, overwrite: bool = False
    ) -> Restored:
        """Bring a manifest back with the tags that went with it; or a tag, with its manifest if that has gone too.

        The children of an index come back where they are in the trash, and so do referrers that were removed because
        their subject was gone. A tag that points elsewhere by now stays there, unless it is to be overwritten. What
        is pushed, deleted or collected at the same time comes before or after each of these manifests. Raises
        Unrestorable.
        """
        trash = await self._store.read_trash(repository)
        records = [record for record in trash.records if self._can_be_undone(record)]
        asked = await self._asked(repository, reference, records)
        if not asked:
            was_there = any(_is_of(record, reference) for record in trash.records)
            raise Unrestorable(
                f"{_written(repository, reference)} was deleted, and can no longer be restored"
                if was_there
                else f"{_written(repository, reference)} is not in the trash"
            )
        restoring = Restoring(
            self._store,
            repository,
            records,
            complete=not self._allow_sparse,
            fixed=self._fixed(repository, overwrite=overwrite),
        )
        return await restoring.run(asked[-1].digest, asked)

    async def empty(self, wanted: Callable[[RepositoryName], object], *, older_than: float = 0.0) -> int:
        """Let what was deleted more than so many seconds ago be undone no more; how many deletions.

        What they take up comes back with the next collection of garbage. Records that cannot be read are among them.
        """
        before = time.time() - older_than if older_than else math.inf
        return sum([await self._store.end_records(name, before) for name in await self._repositories(wanted)])

    async def _repositories(self, wanted: Callable[[RepositoryName], object]) -> Iterable[RepositoryName]:
        return filter(wanted, await self._store.trashed_repositories())

    async def _restorable(
        self, repository: RepositoryName, unreadable: Callable[[str, str], None]
    ) -> Iterable[Record]:
        trash = await self._store.read_trash(repository)
        for path, reason in trash.unreadable.items():
            unreadable(path, reason)
        return filter(self._can_be_undone, trash.records)

    def _can_be_undone(self, record: Record) -> bool:
        return record.until(self._keep) > time.time()

    async def _is_missing(self, repository: RepositoryName, record: Record) -> bool:
        """Whether something of it is not there: a deletion that did not come about, or was undone, has nothing."""
        if await self._store.missing_manifests(repository, [record.digest]):
            return True
        for tag in record.tags:
            if await target(self._store, repository, tag) != record.digest:
                return True
        return False

    async def _asked(
        self, repository: RepositoryName, reference: Reference, records: Iterable[Record]
    ) -> list[Record]:
        """The deletions that are to be undone, all of one digest; of a tag, that which was the last.

        A tag that somebody deleted by itself is none of what went with its manifest, unless there is nothing else.
        """
        found = [record for record in records if _is_of(record, reference)]
        if not isinstance(reference, Tag):
            return [record for record in found if went_with_it(record)] or found
        if not found:
            return []
        last = found[-1]
        if not await self._store.missing_manifests(repository, [last.digest]):
            return [last]
        others = [record for record in records if record.digest == last.digest and record is not last]
        return [*filter(went_with_it, others), last]

    def _fixed(self, repository: RepositoryName, *, overwrite: bool) -> Callable[[Tag], bool] | None:
        if not overwrite:
            return lambda _: True
        return self._immutable.within(repository) if self._immutable else None


def _is_of(record: Record, reference: Reference) -> bool:
    return reference in record.tags if isinstance(reference, Tag) else record.digest == reference


def _written(repository: RepositoryName, reference: Reference) -> str:
    return f"{repository}{':' if isinstance(reference, Tag) else '@'}{reference}"
