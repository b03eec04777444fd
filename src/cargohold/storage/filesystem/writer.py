"""The writer of an upload session: collects pieces, puts them down in batches, hashes what it wrote."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING

from cargohold.storage.durable import write_all
from cargohold.storage.filesystem.hashing import advance, load_hasher, save_hasher
from cargohold.storage.filesystem.tree import to_the_end
from cargohold.storage.locks import PATIENCE, locked
from cargohold.storage.protocols import Conflict, NotFound
from cargohold.types.digest import Algorithm, Hasher

if TYPE_CHECKING:
    from cargohold.storage.filesystem.tree import Tree

_BATCH = 256 << 10
_MANY_PIECES = 64


class FileUploadWriter:
    """See `UploadWriter`. At most two batches are in memory: one on its way to the disk, one being collected.

    To be opened before anything else (in a thread), and to be finished whatever becomes of it.
    """

    def __init__(self, tree: Tree, path: str, hashing: str) -> None:
        self._tree = tree
        self._path = path
        self._hashing = hashing
        self._descriptor: int | None = None
        self._hasher: Hasher | None = None
        self._began = self._written = 0
        self._pieces: list[bytes] = []
        self._collected = 0
        self._flight: asyncio.Task[None] | None = None
        self._failed = False
        self._taken = 0

    def open(self, size: int) -> None:
        """Take hold of the session's file, which holds `size` bytes. Raises FileNotFoundError: the session is gone."""
        # Made where Distribution has not yet made it; the folder exists, or the session is gone.
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self._began = self._written = size
        kept = load_hasher(self._hashing)
        if kept is not None and kept.length <= size:
            self._hasher = kept
        elif size == 0:
            self._hasher = Hasher(Algorithm.SHA256)

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
        if self._descriptor is not None:
            await to_the_end(asyncio.ensure_future(self._finish(self._descriptor)))

    async def _finish(self, descriptor: int) -> None:
        try:
            await self._land()
        finally:
            self._flight = None
            await self._tree.in_bulk(self._close, descriptor)

    def _put(self, pieces: list[bytes]) -> None:
        """One batch: only at the end of the very file that the session still has, so that no other writer is hurt."""
        descriptor = self._descriptor
        if descriptor is None or self._failed:
            raise Conflict("an earlier part of this request was not stored")
        batch = pieces if len(pieces) <= _MANY_PIECES else [b"".join(pieces)]
        self._failed = True
        with locked(descriptor, time.monotonic() + PATIENCE):
            try:
                check_end(self._path, descriptor, self._written)
            except NotFound as gone:
                raise Conflict(*gone.args) from None
            try:
                os.lseek(descriptor, self._written, os.SEEK_SET)
                for piece in batch:
                    write_all(descriptor, piece)
            except OSError:
                os.ftruncate(descriptor, self._written)
                raise
        self._failed = False
        if self._hasher is not None:
            # A writer before this one may have died without keeping its hash: what it wrote is read back once.
            advance(self._hasher, descriptor, self._written)
            for piece in batch:
                self._hasher.update(piece)
        self._written += sum(map(len, batch))

    def _close(self, descriptor: int) -> None:
        try:
            if self._pieces and not self._failed:
                self._put(self._pieces)
            if self._hasher is not None and self._written > self._began:
                save_hasher(self._hashing, self._hasher)
        finally:
            os.close(descriptor)


def check_end(path: str, descriptor: int, size: int) -> None:
    """That the open file is still the one at the path, and ends at `size`. To be asked under the file's lock.

    Raises NotFound where the session is gone, and Conflict where it has grown.
    """
    status = os.fstat(descriptor)
    try:
        is_same = os.stat(path).st_ino == status.st_ino
    except FileNotFoundError:
        is_same = False
    if not is_same:
        raise NotFound("another request has ended the session")
    if status.st_size != size:
        raise Conflict(f"another request has written to the session: it holds {status.st_size} bytes")
