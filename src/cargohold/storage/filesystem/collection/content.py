"""Content that nothing leads to: out of the tree at first, and off the disk when nobody can be about to open it."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from cargohold.storage.collecting import Collected
from cargohold.storage.durable import remove
from cargohold.storage.filesystem.collection.linked import NO_ROOM
from cargohold.storage.filesystem.collection.links import digests_in
from cargohold.storage.filesystem.leases import leased_at
from cargohold.storage.filesystem.steps import longest_step
from cargohold.storage.filesystem.tree import folder_names, size_of, store_error
from cargohold.storage.layout import flat
from cargohold.storage.locks import Busy
from cargohold.storage.totals import Sums, content_shard
from cargohold.types.digest import Algorithm
from cargohold.types.mentions import pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cargohold.storage.filesystem import FilesystemStore
    from cargohold.storage.filesystem.collection.run import Run
    from cargohold.storage.filesystem.pace import Pace
    from cargohold.types.digest import Digest

EMPTY_AFTER: Final = 30.0
"""Seconds for which swept content can still be opened: by a server that found it a moment before it was swept."""

_PREFIXES: Final = 256
_LOCK_SECONDS: Final = 1.0


class ContentSweep:
    """Takes away content that is not linked, and whose lease is older than the run allows."""

    def __init__(
        self,
        store: FilesystemStore,
        run: Run,
        pace: Pace,
        found: Callable[[Collected], None],
        *,
        is_dry: bool,
    ) -> None:
        self._store = store
        self._run = run
        self._pace = pace
        self._found = found
        self._is_dry = is_dry

    def sweep(self) -> dict[str, str]:
        """Look at all content, or at that which an earlier run has not come to. Raises Void.

        Gives the parts in which something could not be taken away, and why not.
        """
        left: dict[str, str] = {}
        parts = [(algorithm, prefix) for algorithm in Algorithm for prefix in range(_PREFIXES)]
        for number, (algorithm, prefix) in enumerate(parts):
            if number >= self._run.swept:
                for reason in self._sweep_part(algorithm, prefix):
                    left.setdefault(f"blobs/{algorithm.value}/{prefix:02x}", reason)
                self._run.swept = number + 1
        return left

    def _sweep_part(self, algorithm: Algorithm, prefix: int) -> Iterator[str]:
        """What was in the way."""
        self._run.check()
        linked, before = self._run.linked_with(algorithm, prefix), self._before()
        folder = f"{self._store.layout.blobs}/{algorithm.value}/{prefix:02x}"
        try:
            for path, digest in digests_in(folder, algorithm):
                self._pace.step()
                if pack(digest) not in linked and leased_at(path, "data") < before:
                    try:
                        self._sweep(path, digest)
                    except OSError as error:
                        yield str(store_error(error))
        except OSError as error:
            yield str(store_error(error))

    def _before(self) -> float:
        """What has an older lease was not linked since the run began, by any server: each leases what it links.

        A server that was started with other settings may do that less often than they say now.
        """
        begun = self._run.begun
        return begun.started - max(begun.age, longest_step(self._store.layout))

    def _sweep(self, path: str, digest: Digest) -> None:
        """Under the lock of the content, under which it is linked."""
        swept = f"{self._store.layout.swept}/{flat(digest)}"
        if self._is_dry:
            self._found(Collected("blob", None, digest, size_of(f"{path}/data") or 0))
            return
        remove(swept)
        with suppress(Busy, FileNotFoundError), self._store.locks.hold(digest, seconds=_LOCK_SECONDS):
            self._run.check()
            if leased_at(path, "data") >= self._before():
                return
            size = size_of(f"{path}/data") or 0
            try:
                self._store.disk.make_folders(self._store.layout.swept)
                self._store.disk.rename(path, swept)
                self._store.disk.renew(swept)
            except OSError as error:
                if error.errno not in NO_ROOM:
                    raise
                # No room for its name elsewhere: then at once, since nothing else would ever make room.
                remove(path)
            self._store.noted.add(content_shard(digest), Sums(content=-size))
            self._found(Collected("blob", None, digest, size))


def empty(store: FilesystemStore, pace: Pace) -> int:
    """Remove what was swept so long ago that nobody can be about to open it; how many bytes."""
    freed, before = 0, time.time() - EMPTY_AFTER
    for name in folder_names(store.layout.swept):
        path = f"{store.layout.swept}/{name}"
        with suppress(FileNotFoundError):
            if os.stat(path).st_mtime < before:
                size = size_of(f"{path}/data") or 0
                remove(path)
                freed += size
        pace.step()
    return freed
