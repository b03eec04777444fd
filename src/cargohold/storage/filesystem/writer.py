"""The writer of an upload session: collects pieces, puts them down in batches, has them hashed beside the next one."""

from __future__ import annotations

import asyncio
import os
import queue
import sys
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from cargohold.storage import disk
from cargohold.storage.durable import write_all
from cargohold.storage.filesystem.hashing import LINGER_SECONDS, RunningHash, load_hasher, save_hasher
from cargohold.storage.filesystem.session import SMALL
from cargohold.storage.filesystem.stored import Stored
from cargohold.storage.locks import PATIENCE, Busy
from cargohold.storage.protocols import Conflict, NotFound, Unavailable
from cargohold.storage.threads import to_the_end
from cargohold.types.digest import Algorithm, Digest, Hasher

if TYPE_CHECKING:
    from collections.abc import Callable

    from cargohold.storage.filesystem.session import FileSession
    from cargohold.storage.filesystem.usage import FileUsage
    from cargohold.types.names import RepositoryName

_ALL_HELD: Final = 24 << 20
_MOST_HELD, _LEAST_HELD = 3 << 20, 128 << 10
_BATCH: Final = 768 << 10
WHOLE: Final = 1 << 20
"""Bytes of a body that are held until it is there, while writers are few: one thread does all with it."""
_FEW_WRITERS: Final = 2
_ROUND: Final = 4 << 20
_STRETCH: Final = 8 << 20
_FEW_PIECES, _MANY_PIECES = 16, 256
_AT_ONCE: Final = 16
_PAUSE = 0.01


class Memory:
    """How much the open writers of a process may hold: 24 MiB together, so long as that is 128 KiB for each of them.

    None holds more than 3 MiB; each may go beyond its share by one piece. Whose client has stopped keeps what he holds
    when more come: two hundred that came one after the other and stopped were seen to hold 43 MiB.
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
    (all that has come is still to be put down, by `put_rest` or by another `finish`); `left_out` (bytes that have come
    and are hashed, and are not put into the session, since the store has them already).
    """

    def __init__(
        self, tree: FileUsage, repository: RepositoryName, session: FileSession, memory: Memory
    ) -> None:
        self._tree = tree
        self._repository = repository
        self.session = session
        self._memory = memory
        memory.writers += 1
        self._is_open = self._is_closed = False
        self._running: RunningHash | None = None
        self.hasher: Hasher | None = None
        self._began = self._written = self._taken = self._position = 0
        self._pieces: list[bytes | memoryview] = []
        self._collected = 0
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[list[bytes | memoryview]] = queue.SimpleQueue()
        self._batch: list[bytes | memoryview] = []
        self._flight: asyncio.Task[None] | None = None
        self._is_long = self._is_ending = False
        self._failed = False
        self._stored: Stored | None = None
        self.left_out = 0
        self.has_rest = False

    def open(self, offset: int | None) -> None:
        """Take hold of the session's end. Raises NotFound, or Conflict where `offset` is not the end."""
        size = self.session.size()
        if offset is not None and offset != size:
            raise Conflict(f"the session holds {size} bytes")
        self.session.open()
        self._began = self._written = size
        self._is_open = True

    def expect(self, length: int, known: Digest | None = None) -> None:
        """Where so many bytes are worth it, have the threads ready that will be needed when they come.

        With what the session holds they are said to be of the digest `known`, which may be stored already.
        """
        self._is_long = length > WHOLE
        if self._is_long and known is not None and not self._began:
            hasher = self._hash.hasher
            if hasher is not None and hasher.algorithm is known.algorithm:
                self._stored = Stored(self._tree, self.session, known, length)
        if self._is_long and self._memory.are_few:
            self._begin_flight()

    @property
    def offset(self) -> int:
        return self._began + self._taken

    @property
    def _hash(self) -> RunningHash:
        """Made when it is needed: what is small is hashed as a whole."""
        if self._running is None:
            kept = load_hasher(self.session.hashing)
            if kept is None or kept.length > self._began:
                kept = None if self._began else Hasher(Algorithm.SHA256)
            self._running = RunningHash(self._tree, kept, self.session.descriptor, self._loop)
        return self._running

    async def write(self, piece: bytes | memoryview) -> None:
        self._pieces.append(piece)
        self._collected += len(piece)
        self._taken += len(piece)
        if self._collected >= self._held_until or len(self._pieces) >= _MANY_PIECES:
            if self._memory.are_few:
                await self._hand_on()
            else:
                await self._land()
                await self._put_through()
        await self._make_room()

    @property
    def _held_until(self) -> int:
        """How much is collected before any of it is put down; one byte more than WHOLE where that may be all.

        Those who hold as much go on holding it when more come: so it is only a half of what they might have now.
        """
        if self._is_long or self._flight is not None or self._memory.share < 2 * WHOLE or self._taken > WHOLE:
            return self._memory.batch
        return WHOLE + 1

    async def _make_room(self) -> None:
        """Wait until no more is held than may be."""
        most = self._memory.share
        if self._taken <= most:
            return
        while self._taken - self._hash.done > max(most, self._collected):
            if self._flight is not None and self._flight.done():
                await self._land()
            else:
                await self._hash.more_done()

    def _take_batch(self) -> list[bytes | memoryview]:
        pieces, self._pieces, self._collected = self._pieces, [], 0
        return pieces if len(pieces) <= _FEW_PIECES else [b"".join(pieces)]

    async def _hand_on(self) -> None:
        """Have what is collected put down, behind what was handed on before."""
        if self._flight is not None and self._flight.done():
            await self._land()
        self._queue.put(self._take_batch())
        if self._flight is None:
            self._begin_flight()

    def _begin_flight(self) -> None:
        self._flight = asyncio.ensure_future(self._put_handed())
        self._flight.add_done_callback(lambda _: self._hash.look())
        if not self._is_ending:
            self._hash.begin()

    async def _put_handed(self) -> None:
        await self._deliver(partial(self._put_queue, self._hash))
        while self._batch or not self._queue.empty():
            await self._deliver(partial(self._put_queue, self._hash))

    async def _put_through(self) -> None:
        """Put down what is collected; while it is waited for, others give the threads enough to do."""
        batch, start = self._take_batch(), self._written
        try:
            await self._deliver(partial(self._put_and_hash, self._hash, batch, sys.maxsize))
        except asyncio.CancelledError:
            self._failed = False
            if self._written == start:
                self._pieces, self._collected = batch, sum(map(len, batch))
            raise

    async def _land(self) -> None:
        """Wait for all that was handed on; a cancelled wait leaves it to `finish`."""
        if self._flight is not None:
            if not self._flight.done():
                self._queue.put([])
            await asyncio.shield(self._flight)
            self._flight = None

    async def finish(self, *, is_last: bool) -> None:
        """Put down what is left, also when the caller is cancelled while it waits for that.

        The hash is kept for whoever goes on with the session; of the `is_last` body it is there as `hasher` alone,
        and where that is at most WHOLE, all of it is left as a rest.
        """
        self.has_rest = is_last and not self._is_long and 0 < self._collected == self._taken <= WHOLE
        if self._is_open and (self._taken or self._flight is not None) and not self.has_rest:
            await to_the_end(asyncio.ensure_future(self._finish(keeps_hash=not is_last)))

    def put_rest(self) -> list[bytes | memoryview]:
        """Put down, in a thread, what `finish` has left; the pieces of that, where the session holds nothing else.

        Raises NotFound and Conflict where the session has changed; Busy and UncountedError, after which the rest is
        there as before.
        """
        if not self.has_rest:
            return []
        start, pieces = self._written, self._pieces
        if len(pieces) > 1 and (self._collected <= SMALL or len(pieces) > _FEW_PIECES):
            pieces = [b"".join(pieces)]
        self._put(pieces)
        self._pieces, self._collected, self.has_rest = [], 0, False
        if not self._began:
            return pieces
        self._hash.take(start, pieces)
        self.hasher = self._hash.hasher
        return []

    def close(self) -> None:
        """Let go of the session, once nothing is left to be put down."""
        if not self._is_closed:
            self._is_closed = True
            self._memory.writers -= 1
            self.session.close()

    async def _finish(self, *, keeps_hash: bool) -> None:
        try:
            self._is_ending = True
            if self._pieces and self._flight is None:
                await self._put_through()
            elif self._pieces:
                await self._hand_on()
            await self._land()
        finally:
            self._flight = None
            self.hasher = await self._hash.end()
            # What was left out is to be sent again, by whoever goes on with the session.
            if keeps_hash and self.hasher is not None and self._written > self._began and not self.left_out:
                await self._tree.in_bulk(self._keep_hash, self.hasher)

    def _keep_hash(self, hasher: Hasher) -> None:
        # The bytes are stored: without what is kept here they are read once more at the end of the session.
        with suppress(OSError):
            save_hasher(self.session.hashing, hasher)

    async def _deliver(self, put: Callable[[], None]) -> None:
        """Put something down in a thread; where another holds the end, wait here for it and not in the thread."""
        if self._failed:
            raise Conflict("an earlier part of this request was not stored")
        self._failed = True
        deadline, written = time.monotonic() + PATIENCE, self._written
        while True:
            try:
                await self._tree.counted(partial(self._tree.in_bulk, put))
                break
            except Busy:
                if self._written != written:
                    deadline, written = time.monotonic() + PATIENCE, self._written
                if time.monotonic() >= deadline:
                    raise Unavailable("the upload session's lock was not to be had in time") from None
            except NotFound as gone:
                raise Conflict(*gone.args) from None
            await asyncio.sleep(_PAUSE)
        self._failed = False

    def _put_queue(self, running: RunningHash) -> None:
        """What was handed on, until no more comes for a moment, or it is so much that somebody should look."""
        for _ in range(_AT_ONCE):
            with suppress(queue.Empty):
                self._batch = self._batch or self._queue.get(timeout=LINGER_SECONDS)
            if not self._batch:
                return
            is_end = self._is_ending and self._queue.qsize() <= 1
            self._put_and_hash(running, self._batch, sys.maxsize if is_end else SMALL)
            self._batch = []

    def _put_and_hash(self, running: RunningHash, batch: list[bytes | memoryview], most: int) -> None:
        """Put a batch down, and hash it here unless that is better done elsewhere: what is more than `most` bytes."""
        start = self._written
        self._put(batch)
        if running.is_idle and self._written - start <= most:
            running.take(start, batch)
            self._loop.call_soon_threadsafe(running.look)
        else:
            running.add(start, batch)

    def _put(self, batch: list[bytes | memoryview]) -> None:
        """One batch: only at the end of the very file that the session still has, so that no other writer is hurt."""
        descriptor, size = self.session.descriptor, sum(map(len, batch))
        if self._stored is not None and self._stored.look():
            self._written += size
            self.left_out += size
            return
        with self._tree.taking(self._repository, lambda: size), self.session.at_end(self._written):
            try:
                if self._position != self._written:
                    os.lseek(descriptor, self._written, os.SEEK_SET)
                for piece in batch:
                    write_all(descriptor, piece)
            except OSError:
                self._position = -1
                disk.truncate(descriptor, self._written)
                raise
        begin, self._written = self._written, self._written + size
        self._position = self._written
        first, last = begin // _STRETCH, self._written // _STRETCH
        if first != last:
            disk.start_writing(descriptor, first * _STRETCH, last * _STRETCH)
        elif SMALL < size <= self._written <= WHOLE:  # which may be all
            disk.start_writing(descriptor, begin, self._written)
