"""The writer of an upload session: collects pieces, puts them down in batches, has them hashed beside the next one."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from cargohold.storage import disk
from cargohold.storage.durable import write_all
from cargohold.storage.filesystem.hashing import RunningHash, load_hasher, save_hasher
from cargohold.storage.filesystem.tree import to_the_end
from cargohold.storage.locks import PATIENCE, Busy
from cargohold.storage.protocols import Conflict, NotFound, Unavailable
from cargohold.types.digest import Algorithm, Hasher

if TYPE_CHECKING:
    from cargohold.storage.filesystem.session import FileSession
    from cargohold.storage.filesystem.usage import FileUsage
    from cargohold.types.names import RepositoryName

_ALL_HELD: Final = 24 << 20
_MOST_HELD, _LEAST_HELD = 3 << 20, 128 << 10
_BATCH: Final = 768 << 10
_SMALL: Final = 64 << 10
_FEW_WRITERS: Final = 2
_ROUND: Final = 4 << 20
_STRETCH: Final = 8 << 20
_FEW_PIECES, _MANY_PIECES = 16, 256
_PAUSE = 0.01


class Memory:
    """How much the open writers of a process may hold: 24 MiB together, so long as that is 128 KiB for each of them.

    None holds more than 3 MiB; each may go beyond its share by one piece.
    """

    def __init__(self) -> None:
        self.writers = 0
        # The largest that malloc has given back tells it how much to keep of what is given back later. By itself it
        # would return each batch to the system, which would have to clear those pages again for the next.
        bytearray(_ROUND)

    @property
    def share(self) -> int:
        """The most that one of them holds, in bytes."""
        return max(_LEAST_HELD, min(_MOST_HELD, _ALL_HELD // max(1, self.writers)))

    @property
    def batch(self) -> int:
        """How much is put down at once: few hand-overs a mebibyte, and room for the next to arrive meanwhile."""
        return min(_BATCH, self.share // (4 if self.are_few else 2))

    @property
    def are_few(self) -> bool:
        """Whether threads are idle while one of them writes: then another hashes what has been written."""
        return self.writers <= _FEW_WRITERS


class FileUploadWriter:
    """See `UploadWriter`. It holds a batch that is collected, one on its way to the disk, and those yet to be hashed.

    To be opened before anything else, and to be finished and closed whatever becomes of it.

    Attributes: `session`, which is held; `hasher`, once it is finished, with all that is hashed then; `has_rest`
    (something small is still to be put down, by `put_rest` or by another `finish`).
    """

    def __init__(
        self, tree: FileUsage, repository: RepositoryName, session: FileSession, memory: Memory
    ) -> None:
        self._tree = tree
        self._repository = repository
        self.session = session
        self._memory = memory
        memory.writers += 1
        self._is_closed = False
        self._running: RunningHash | None = None
        self.hasher: Hasher | None = None
        self._began = self._written = self._taken = 0
        self._pieces: list[bytes] = []
        self._collected = 0
        self._flight: asyncio.Task[None] | None = None
        self._failed = False
        self.has_rest = False

    def open(self, offset: int | None) -> None:
        """Take hold of the session's end. Raises NotFound, or Conflict where `offset` is not the end."""
        size = self.session.size()
        if offset is not None and offset != size:
            raise Conflict(f"the session holds {size} bytes")
        self.session.open()
        self._began = self._written = size
        kept = load_hasher(self.session.hashing)
        if kept is None or kept.length > size:
            kept = None if size else Hasher(Algorithm.SHA256)
        self._running = RunningHash(self._tree, kept, self.session.descriptor)

    @property
    def offset(self) -> int:
        return self._began + self._taken

    @property
    def _hash(self) -> RunningHash:
        assert self._running is not None
        return self._running

    async def write(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._collected += len(piece)
        self._taken += len(piece)
        if self._collected >= self._memory.batch or len(self._pieces) >= _MANY_PIECES:
            await self._land()
            if self._memory.are_few:
                self._launch()
            else:
                await self._put_through()
        await self._make_room()

    async def _make_room(self) -> None:
        """Wait until no more is held than may be."""
        most = self._memory.share
        if self._taken - self._hash.done > most:
            await self._land()
            await self._hash.until_done(self._taken - max(most, self._collected))

    def _take_batch(self) -> list[bytes]:
        pieces, self._pieces, self._collected = self._pieces, [], 0
        return pieces if len(pieces) <= _FEW_PIECES else [b"".join(pieces)]

    def _launch(self) -> None:
        self._flight = asyncio.ensure_future(self._deliver(self._take_batch()))

    async def _put_through(self) -> None:
        """As `_launch` and `_land`; while it is waited for, others give the threads enough to do."""
        batch, start = self._take_batch(), self._written
        try:
            await self._deliver(batch)
        except asyncio.CancelledError:
            self._failed = False
            if self._written == start:
                self._pieces, self._collected = batch, sum(map(len, batch))
            raise

    async def _land(self) -> None:
        """Wait for the batch on its way; a cancelled wait leaves it to `finish`."""
        if self._flight is not None:
            await asyncio.shield(self._flight)
            self._flight = None

    async def finish(self, *, is_last: bool) -> None:
        """Put down what is left, also when the caller is cancelled while it waits for that.

        The hash is kept for whoever goes on with the session; of the `is_last` body it is there as `hasher` alone,
        and where that is small, all of it is left as a rest.
        """
        if self._running is None:
            return
        self.has_rest = is_last and 0 < self._collected == self._taken <= _SMALL
        if self.has_rest:
            self.hasher = await self._hash.end()
        else:
            await to_the_end(asyncio.ensure_future(self._finish(keeps_hash=not is_last)))

    def put_rest(self) -> None:
        """Put down, in a thread, what `finish` has left. Raises NotFound and Conflict where the session has changed.

        Raises Busy and UncountedError, after which the rest is there as before.
        """
        if self.has_rest:
            self._put(self._pieces, hashes=True)
            self._pieces, self._collected, self.has_rest = [], 0, False

    def close(self) -> None:
        """Let go of the session, once nothing is left to be put down."""
        if not self._is_closed:
            self._is_closed = True
            self._memory.writers -= 1
            self.session.close()

    async def _finish(self, *, keeps_hash: bool) -> None:
        try:
            await self._land()
            if self._pieces:
                self._launch()
                await self._land()
        finally:
            self._flight = None
            self.hasher = await self._hash.end()
            if keeps_hash and self.hasher is not None and self._written > self._began:
                await self._tree.in_bulk(self._keep_hash, self.hasher)

    def _keep_hash(self, hasher: Hasher) -> None:
        # The bytes are stored: without what is kept here they are read once more at the end of the session.
        with suppress(OSError):
            save_hasher(self.session.hashing, hasher)

    async def _deliver(self, batch: list[bytes]) -> None:
        """Put a batch down; where another holds the end, wait here for it and not in a thread."""
        if self._failed:
            raise Conflict("an earlier part of this request was not stored")
        self._failed = True
        deadline, start = time.monotonic() + PATIENCE, self._written
        is_here = self._hash.is_idle and (not self._memory.are_few or sum(map(len, batch)) <= _SMALL)
        while True:
            try:
                await self._tree.counted(partial(self._tree.in_bulk, self._put, batch, hashes=is_here))
                break
            except Busy:
                if time.monotonic() >= deadline:
                    raise Unavailable("the upload session's lock was not to be had in time") from None
            except NotFound as gone:
                raise Conflict(*gone.args) from None
            await asyncio.sleep(_PAUSE)
        self._failed = False
        if not is_here:
            self._hash.add(start, batch)

    def _put(self, batch: list[bytes], *, hashes: bool) -> None:
        """One batch: only at the end of the very file that the session still has, so that no other writer is hurt.

        It is hashed here where handing it on would take longer, or where all threads are busy anyway.
        """
        descriptor, size = self.session.descriptor, sum(map(len, batch))
        with self._tree.taking(self._repository, lambda: size), self.session.at_end(self._written):
            try:
                os.lseek(descriptor, self._written, os.SEEK_SET)
                for piece in batch:
                    write_all(descriptor, piece)
            except OSError:
                disk.truncate(descriptor, self._written)
                raise
        begin, self._written = self._written, self._written + size
        if hashes:
            self._hash.take(begin, batch)
        first, last = begin // _STRETCH, self._written // _STRETCH
        if first != last:
            disk.start_writing(descriptor, first * _STRETCH, last * _STRETCH)
