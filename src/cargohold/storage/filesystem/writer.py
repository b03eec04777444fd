"""The writer of an upload session: collects pieces, puts them down in batches, hashes what it wrote."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING

from cargohold.storage.durable import write_all
from cargohold.storage.filesystem.hashing import advance, save_hasher
from cargohold.storage.locks import PATIENCE, locked
from cargohold.storage.protocols import Conflict

if TYPE_CHECKING:
    from cargohold.storage.filesystem.tree import Tree
    from cargohold.types.digest import Hasher

_BATCH = 512 << 10
_MANY_PIECES = 64


class FileUploadWriter:
    """See `UploadWriter`. At most two batches are in memory: one on its way to the disk, one being collected."""

    def __init__(  # noqa: PLR0913, PLR0917 - all that a session's end is made of
        self, tree: Tree, path: str, descriptor: int, offset: int, hasher: Hasher | None, hashing: str
    ) -> None:
        self._tree = tree
        self._path = path
        self._descriptor = descriptor
        self._written = offset
        self._hasher = hasher if hasher is not None and hasher.length <= offset else None
        self._hashing = hashing
        self._pieces: list[bytes] = []
        self._collected = 0
        self._flight: asyncio.Task[None] | None = None
        self._failed = False
        self._began = offset
        self._taken = 0

    @property
    def offset(self) -> int:
        return self._began + self._taken

    async def write(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._collected += len(piece)
        self._taken += len(piece)
        if self._collected >= _BATCH:
            await self._land()
            self._launch()

    def _launch(self) -> None:
        pieces, self._pieces, self._collected = self._pieces, [], 0
        self._flight = asyncio.ensure_future(self._tree.in_bulk(self._put, pieces))

    async def _land(self) -> None:
        """Wait for the batch on its way; a cancelled wait leaves it to `finish`."""
        if self._flight is not None:
            await asyncio.shield(self._flight)
            self._flight = None

    async def finish(self) -> None:
        """Put down what is left, keep the hash, let go: also when the caller is cancelled while it waits for that."""
        await asyncio.shield(asyncio.ensure_future(self._finish()))

    async def _finish(self) -> None:
        try:
            await self._land()
        finally:
            self._flight = None
            await self._tree.in_bulk(self._close)

    def _put(self, pieces: list[bytes]) -> None:
        """One batch: only at the end of the very file that the session still has, so that no other writer is hurt."""
        if self._failed:
            raise Conflict("an earlier part of this request was not stored")
        batch = pieces if len(pieces) <= _MANY_PIECES else [b"".join(pieces)]
        self._failed = True
        with locked(self._descriptor, time.monotonic() + PATIENCE):
            if not at_end(self._path, self._descriptor, self._written):
                raise Conflict("another request has written to the session or ended it")
            try:
                os.lseek(self._descriptor, self._written, os.SEEK_SET)
                for piece in batch:
                    write_all(self._descriptor, piece)
            except OSError:
                os.ftruncate(self._descriptor, self._written)
                raise
        self._failed = False
        if self._hasher is not None:
            # A writer before this one may have died without keeping its hash: what it wrote is read back once.
            advance(self._hasher, self._descriptor, self._written)
            for piece in batch:
                self._hasher.update(piece)
        self._written += sum(map(len, batch))

    def _close(self) -> None:
        try:
            if self._pieces and not self._failed:
                self._put(self._pieces)
            if self._hasher is not None and self._written > self._began:
                save_hasher(self._hashing, self._hasher)
        finally:
            os.close(self._descriptor)


def at_end(path: str, descriptor: int, size: int) -> bool:
    """Whether the open file is still the one at the path, and ends at `size`. To be asked under the file's lock."""
    status = os.fstat(descriptor)
    try:
        return status.st_size == size and os.stat(path).st_ino == status.st_ino
    except FileNotFoundError:
        return False
