"""How much is stored: what is noted as it comes and goes, and the walk that counts it anew."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from cargohold.storage.filesystem.manifests import FileManifests
from cargohold.storage.filesystem.pace import ClosingError, Pace
from cargohold.storage.filesystem.tree import exists, folder_names, size_of
from cargohold.storage.filesystem.walk import repositories
from cargohold.storage.locks import open_lock, try_lock
from cargohold.storage.protocols import Room
from cargohold.storage.runs import RunsFile
from cargohold.storage.totals import CONTENT_SHARDS, SHARDS, Sums, repository_shard
from cargohold.types.digest import Algorithm
from cargohold.types.errors import BlobUploadUnknown
from cargohold.types.names import UploadId

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cargohold.storage.protocols import Totals
    from cargohold.storage.runs import Runs
    from cargohold.types.names import RepositoryName

_TRIES: Final = 4
_ROUNDS: Final = 8
_SHARE: Final = 0.1
_NOTED_AFTER: Final = 0.01
"""Seconds; a change is noted some microseconds after it is made."""


class FileInventory(FileManifests):
    """The part of the store that is an `Inventory`."""

    async def totals(self) -> Totals | None:
        return await self._run(self._trials, self.noted.read)

    async def room(self) -> Room | None:
        return await self._run(self._trials, self._room)

    def _room(self) -> Room:
        disk = os.statvfs(self.layout.root)
        return Room(disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize)

    async def runs(self) -> Runs | None:
        return await self._run(self._trials, RunsFile(self.layout).read)

    async def recount(self, age: float, share: float = _SHARE) -> bool:
        """`share` is how much of a processor it may take, above 0 and up to 1: more than a little where one waits."""
        return await self.in_background(self._recount, age, share)

    def _recount(self, age: float, share: float) -> bool:
        if not self.noted.is_due(age):
            return False
        descriptor = open_lock(f"{self.layout.locks}/recount")
        try:
            # Another process may just have ended.
            return try_lock(descriptor) and self.noted.is_due(age) and self._count_all(share)
        finally:
            os.close(descriptor)

    def _count_all(self, share: float) -> bool:
        pace, number = Pace(lambda: self.closing, share), self.noted.begin()
        if number is None:
            return False
        try:
            for shard in range(CONTENT_SHARDS):
                self._count(shard, partial(self._content, shard, pace), pace)
            self._count_repositories(pace)
        except ClosingError:
            return False
        return self.noted.finish(number)

    def _count_repositories(self, pace: Pace) -> None:
        """Until a walk finds none that the walks before did not: what belongs to those that come later is noted."""
        names: dict[int, set[RepositoryName]] = {shard: set() for shard in range(CONTENT_SHARDS, SHARDS)}
        todo = set(names)
        for _ in range(_ROUNDS):
            for name in repositories(self.layout.repositories):
                pace.step()
                shard = repository_shard(name)
                if name not in names[shard]:
                    names[shard].add(name)
                    todo.add(shard)
            for shard in todo:
                self._count(shard, partial(self._held_by, names[shard], pace), pace)
            if not todo:
                return
            todo.clear()

    def _count(self, shard: int, look: Callable[[], Sums], pace: Pace) -> None:
        """Look at a shard until nothing was noted meanwhile; one that never rests is taken as it was found."""
        for _ in range(_TRIES):
            changes = self.noted.changes(shard)
            found = look()
            # Of what was seen, that which was not yet noted is so then.
            pace.rest(_NOTED_AFTER if any(found) else 0.0)
            if self.noted.replace(shard, found, changes):
                return
        self.noted.replace(shard, found, None)

    def _content(self, shard: int, pace: Pace) -> Sums:
        found = 0
        for algorithm in Algorithm:
            folder = f"{self.layout.blobs}/{algorithm.value}/{shard:02x}"
            with suppress(PermissionError):
                for name in folder_names(folder):
                    with suppress(NotADirectoryError, PermissionError):
                        found += size_of(f"{folder}/{name}/data") or 0
                    pace.step()
        return Sums(content=found)

    def _held_by(self, names: Iterable[RepositoryName], pace: Pace) -> Sums:
        uploads = held = 0
        for name in names:
            with suppress(PermissionError):
                uploads += sum(
                    self._is_session(name, entry) for entry in folder_names(self.layout.uploads(name))
                )
                held += self.has_manifest(name)
            pace.step()
        return Sums(uploads=uploads, repositories=held)

    def _is_session(self, repository: RepositoryName, name: str) -> bool:
        try:
            folder = self.layout.upload(repository, UploadId(name))
        except BlobUploadUnknown:
            return False
        return exists(f"{folder}/startedat") or exists(f"{folder}/data")
