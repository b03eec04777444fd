"""The trash of each repository: a file for every deletion, written before anything is removed."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from cargohold.storage.change import Change
from cargohold.storage.durable import remove
from cargohold.storage.files import read_whole
from cargohold.storage.filesystem.tree import Tree, folder_names
from cargohold.storage.filesystem.walk import all_repositories
from cargohold.storage.trash import Trashed, ended_name, is_ended, is_name, parse_record, time_of, until
from cargohold.types.mentions import pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from collections.abc import Set as AbstractSet

    from cargohold.storage.trash import Record
    from cargohold.types.names import RepositoryName


class FileTrash(Tree):
    """The part of the store that keeps records of what was deleted, and reads them.

    A name of the trash is never made but by the rename of a whole file that is synced. So what cannot be read there
    is damage, or nothing of ours.
    """

    def keep_records(self, repository: RepositoryName, records: Iterable[Record]) -> None:
        """Write records down; they are durable, with their names, when this returns."""
        folder = self.layout.trash(repository)
        with Change(self.disk, self.layout.new) as change:
            for record in records:
                change.file(f"{folder}/{record.name}", record.encode())
            change.stage()
            change.place()
            change.settle()

    def drop_record(self, repository: RepositoryName, name: str) -> None:
        """Remove a record, if it is there. Not durable: one that comes back has nothing to undo, and is no harm."""
        remove(f"{self.layout.trash(repository)}/{name}")

    async def trashed_repositories(self) -> list[RepositoryName]:
        return await self.in_background(self._trashed_repositories)

    def _trashed_repositories(self) -> list[RepositoryName]:
        found = all_repositories(self.layout.repositories)
        return sorted(name for name, _ in found if any(map(is_name, folder_names(self.layout.trash(name)))))

    async def read_trash(self, repository: RepositoryName) -> Trashed:
        return await self.in_background(self._read_trash, repository)

    def _read_trash(self, repository: RepositoryName) -> Trashed:
        unreadable: dict[str, str] = {}
        return Trashed(list(self.records(repository, unreadable.__setitem__)), unreadable)

    def records(
        self,
        repository: RepositoryName,
        unreadable: Callable[[str, str], None],
        *,
        grace: float | None = None,
    ) -> Iterator[Record]:
        """What was deleted in a repository, the oldest first, as long as it is written down; some may be over.

        `unreadable` is called with the path of each record that cannot be read and is not over, and the reason: it
        stays where it is. What is not named as a record is none, and passed over. For `grace` see `purge`.
        """
        folder, now = self.layout.trash(repository), time.time()
        for name in sorted(filter(is_name, folder_names(folder))):
            try:
                yield parse_record(name, read_whole(f"{folder}/{name}")[0])
            except FileNotFoundError:
                continue
            except (OSError, ValueError) as error:
                if self._over(time_of(name), ended=is_ended(name), grace=grace) >= now:
                    unreadable(f"{folder}/{name}", str(getattr(error, "strerror", error)))

    async def drop_records(self, repository: RepositoryName, names: Iterable[str]) -> None:
        await self.in_metadata(self._drop_records, repository, list(names))

    def _drop_records(self, repository: RepositoryName, names: list[str]) -> None:
        for name in names:
            self.drop_record(repository, name)

    async def end_records(self, repository: RepositoryName, before: float) -> int:
        return await self.in_background(self._end_records, repository, before)

    def _end_records(self, repository: RepositoryName, before: float) -> int:
        """Under no lock: a record that is renamed while its deletion is undone has nothing to undo after that."""
        folder, done = self.layout.trash(repository), 0
        for name in filter(is_name, folder_names(folder)):
            if time_of(name) < before and not is_ended(name):
                # Another command may have ended it, or dropped it.
                with suppress(FileNotFoundError):
                    self.disk.rename(f"{folder}/{name}", f"{folder}/{ended_name(name)}")
                    done += 1
        if done:
            self.disk.settle([folder])
        return done

    def purge(
        self,
        repository: RepositoryName,
        now: float,
        *,
        grace: float | None = None,
        awaited: AbstractSet[bytes] = frozenset(),
    ) -> int:
        """Remove the records that were over by `now`, unreadable ones too; how many. Files of others' names stay.

        A record is over when it cannot be undone any more, and who was pulling has had the grace time to end: that of
        the terms, or `grace` seconds. Those of the `awaited` manifests (packed digests) stay.
        """
        folder, purged = self.layout.trash(repository), 0
        for name in filter(is_name, folder_names(folder)):
            is_over = self._over(time_of(name), ended=is_ended(name), grace=grace) < now
            if is_over and not (awaited and self._digest_of(f"{folder}/{name}") in awaited):
                remove(f"{folder}/{name}")
                purged += 1
        return purged

    def _digest_of(self, path: str) -> bytes | None:
        """The packed digest of what a record is of; None where it cannot be read."""
        try:
            return pack(parse_record(os.path.basename(path), read_whole(path)[0]).digest)
        except (OSError, ValueError):
            return None

    def is_alive(self, record: Record, now: float, *, grace: float | None = None) -> bool:
        """Whether the manifest of a record, and all that it references, must still be there."""
        return self._over(record.when, ended=record.ended, grace=grace) >= now

    def _over(self, when: float, *, ended: bool, grace: float | None) -> float:
        pulled = self.terms.grace if grace is None else grace
        return max(until(when, self.terms.keep, ended=ended), when + pulled)
