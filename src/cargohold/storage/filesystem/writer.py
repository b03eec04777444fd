"""The writer of an upload session: collects pieces, puts them down in batches, hashes what it wrote."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from cargohold.storage import disk
from cargohold.storage.durable import write_all
from cargohold.storage.filesystem.hashing import advance, load_hasher, save_hasher
from cargohold.storage.filesystem.tree import to_the_end
from cargohold.storage.locks import PATIENCE, Busy
from cargohold.storage.protocols import Conflict, NotFound, Unavailable
from cargohold.types.digest import Algorithm, Hasher

if TYPE_CHECKING:
    from cargohold.storage.filesystem.session import FileSession
    from cargohold.storage.filesystem.usage import FileUsage
    from cargohold.types.names import RepositoryName

_BATCH = 256 << 10
_MANY_PIECES = 64
_PAUSE = 0.01


class FileUploadWriter:
    """See `UploadWriter`. At most two batches are in memory: one on its way to the disk, one being collected.

    To be opened before anything else (in a thread), and to be finished whatever becomes of it.
    """

    def __init__(self, tree: FileUsage, repository: RepositoryName, session: FileSession) -> None:
        self._tree = tree
        self._repository = repository
        self._session = session
        self._is_open = False
        self._hasher: Hasher | None = None
        self._began = self._written = self._taken = 0
        self._pieces: list[bytes] = []
        self._collected = 0
        self._flight: asyncio.Task[None] | None = None
        self._failed = False

    def open(self, offset: int | None) -> None:
        """Take hold of the session's end. Raises NotFound, or Conflict where `offset` is not the end."""
        size = self._session.size()
        if offset is not None and offset != size:
            raise Conflict(f"the session holds {size} bytes")
        self._session.open()
        self._is_open = True
        self._began = self._written = size
        kept = load_hasher(self._session.hashing)
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
        self._flight = asyncio.ensure_future(self._deliver(pieces))

    async def _land(self) -> None:
        """Wait for the batch on its way; a cancelled wait leaves it to `finish`."""
        if self._flight is not None:
            await asyncio.shield(self._flight)
            self._flight = None

    async def finish(self) -> None:
        """Put down what is left and keep the hash: also when the caller is cancelled while it waits for that."""
        if self._is_open:
            await to_the_end(asyncio.ensure_future(self._finish()))

    async def _finish(self) -> None:
        try:
            await self._land()
            if self._pieces:
                self._launch()
                await self._land()
        finally:
            self._flight = None
            if self._hasher is not None and self._written > self._began:
                await self._tree.in_bulk(self._keep_hash, self._hasher)

    def _keep_hash(self, hasher: Hasher) -> None:
        # The bytes are stored: without what is kept here they are read once more at the end of the session.
        with suppress(OSError):
            save_hasher(self._session.hashing, hasher)

    async def _deliver(self, pieces: list[bytes]) -> None:
        """Put a batch down; where another holds the end, wait here for it and not in a thread."""
        if self._failed:
            raise Conflict("an earlier part of this request was not stored")
        self._failed = True
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                await self._tree.counted(partial(self._tree.in_bulk, self._put, pieces))
                break
            except Busy:
                if time.monotonic() >= deadline:
                    raise Unavailable("the upload session's lock was not to be had in time") from None
            except NotFound as gone:
                raise Conflict(*gone.args) from None
            await asyncio.sleep(_PAUSE)
        self._failed = False

    def _put(self, pieces: list[bytes]) -> None:
        """One batch: only at the end of the very file that the session still has, so that no other writer is hurt."""
        descriptor = self._session.descriptor
        batch = pieces if len(pieces) <= _MANY_PIECES else [b"".join(pieces)]
        size = sum(map(len, batch))
        with self._tree.taking(self._repository, lambda: size), self._session.at_end(self._written):
            try:
                os.lseek(descriptor, self._written, os.SEEK_SET)
                for piece in batch:
                    write_all(descriptor, piece)
            except OSError:
                disk.truncate(descriptor, self._written)
                raise
        if self._hasher is not None:
            # A writer before this one may have died without keeping its hash: what it wrote is read back once.
            advance(self._hasher, descriptor, self._written)
            for piece in batch:
                self._hasher.update(piece)
        self._written += size
