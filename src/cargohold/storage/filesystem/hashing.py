"""The hash of an upload session so far, kept beside it, so that no byte is hashed twice.

The state is worth something only while the bytes that it was made from are surely in the file: within one run of the
machine. After a power cut the file may have lost what the state remembers, so a state names the boot that it is of.
A state that is missing, of another boot, or of another build of the hash costs a reading of the file, and no more.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import queue
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from cargohold.storage import disk
from cargohold.storage.boot import boot_id
from cargohold.storage.durable import make_folders, remove, write_all
from cargohold.types.digest import Algorithm, Digest, Hasher

if TYPE_CHECKING:
    from cargohold.storage.filesystem.tree import Tree

LINGER_SECONDS: Final = 0.005
"""How long a thread that has done all waits for more of the same: to be woken takes a tenth of being called again."""
_PIECE = 1 << 20
_RECORD = struct.Struct("<I32s")


def save_hasher(path: str, hasher: Hasher) -> None:
    """Keep a hasher's state; not synced, for it is worth nothing after a power cut.

    It is written over the one before. A file that is renamed into the place of another would be put onto the disk at
    once by ext4, and every chunk would wait for that; who reads half of two states sees it by their sum.
    """
    state = hasher.save()
    if state is None and hasher.length:
        remove(path)
        return
    head = b"%s %s %d\n" % (boot_id().encode(), hasher.algorithm.value.encode(), hasher.length)
    kept = head + (state or b"")
    record = _RECORD.pack(len(kept), hashlib.sha256(kept).digest()) + kept
    try:
        descriptor = disk.open_file(path, is_new=False)
    except FileNotFoundError:
        make_folders(os.path.dirname(path))
        descriptor = disk.open_file(path, is_new=False)
    try:
        write_all(descriptor, record)
    finally:
        os.close(descriptor)


def load_hasher(path: str) -> Hasher | None:
    """The hasher that was kept; None where there is none that this process can take up."""
    kept = _read_kept(path)
    head, _, state = kept.partition(b"\n")
    fields = head.split(b" ")
    if len(fields) != 3:  # noqa: PLR2004 - the three fields that save_hasher writes
        return None
    boot, name, length = fields
    try:
        algorithm, count = Algorithm(name.decode()), int(length)
    except ValueError:
        return None
    if count == 0:
        return Hasher(algorithm)
    return Hasher.restore(algorithm, count, state) if boot == boot_id().encode() else None


def _read_kept(path: str) -> bytes:
    """What is in the file of a state; nothing where it is missing or spoiled. A longer one may have been there."""
    try:
        with open(path, "rb", buffering=0) as file:
            record = file.read()
        length, digest = _RECORD.unpack_from(record)
    except (OSError, struct.error):
        return b""
    kept = record[_RECORD.size : _RECORD.size + length]
    return kept if hashlib.sha256(kept).digest() == digest else b""


def hash_from(descriptor: int, size: int, algorithm: Algorithm, hasher: Hasher | None) -> Digest:
    """The digest of a file's first `size` bytes, going on from where a hasher stands if it is of this algorithm."""
    if hasher is None or hasher.algorithm is not algorithm or hasher.length > size:
        hasher = Hasher(algorithm)
    advance(hasher, descriptor, size)
    return hasher.digest()


def advance(hasher: Hasher, descriptor: int, size: int) -> None:
    """Take in the file's bytes from where the hasher stands up to `size`. Raises OSError where the file is shorter."""
    while hasher.length < size:
        piece = os.pread(descriptor, min(_PIECE, size - hasher.length), hasher.length)
        if not piece:
            raise OSError(0, "a file is shorter than it was")
        hasher.update(piece)


class _Written(NamedTuple):
    """What a session's file holds from `start` on, in memory still."""

    start: int
    pieces: list[bytes | memoryview]
    size: int


class RunningHash:
    """A session's hash, taken on in a thread beside the next write: behind what is written, and never before it.

    For one event loop. `done` is how many of its bytes need not be held any more; the `hasher` is not to be used
    before it is idle. Without one nothing is hashed; the file is read at the end of the session then.
    """

    def __init__(
        self, tree: Tree, hasher: Hasher | None, descriptor: int, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.done = 0
        self.hasher = hasher
        self._tree = tree
        self._descriptor = descriptor
        self._added = 0
        self._todo: queue.SimpleQueue[_Written | None] = queue.SimpleQueue()
        self._is_at_work = False
        self._loop = loop
        self._more_done = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    @property
    def is_idle(self) -> bool:
        """Whether all that was added is hashed."""
        return self.done == self._added

    def take(self, start: int, pieces: list[bytes | memoryview]) -> None:
        """Hash at once (in a thread) what has been written from `start` on; only while it is idle."""
        size = sum(map(len, pieces))
        self._hash(start, pieces)
        self._added += size
        self.done += size

    def add(self, start: int, pieces: list[bytes | memoryview]) -> None:
        """Have hashed what has been written from `start` on, in the order of these calls, from one thread at a time."""
        written = _Written(start, pieces, sum(map(len, pieces)))
        self._added += written.size
        self._todo.put(written)
        if not self._is_at_work:
            self._loop.call_soon_threadsafe(self.begin)

    def begin(self) -> None:
        """Have a thread hash what there is, and what comes soon."""
        if self._running is None:
            self._running = asyncio.ensure_future(self._run())

    async def until_done(self, count: int) -> None:
        """Wait until so many bytes are."""
        while self.done < count:
            await self.more_done()

    async def more_done(self) -> None:
        """Wait until more is done than when somebody last waited, or he is to `look` for another reason."""
        await self._more_done.wait()
        self._more_done.clear()

    def look(self) -> None:
        """Wake who waits until more is done."""
        self._more_done.set()

    async def end(self) -> Hasher | None:
        """Wait until all is hashed; the hasher, which no thread uses any more."""
        self._todo.put(None)
        if not self.is_idle:
            self.begin()
        while self._running is not None:
            await asyncio.shield(self._running)
        return self.hasher

    async def _run(self) -> None:
        try:
            while True:
                self._is_at_work = True
                await self._tree.in_bulk(self._take_all)
                if self.is_idle:
                    break
        finally:
            self._running = None
            if not self.is_idle:  # it was cancelled
                self.hasher = None
                self._take_all(0.0)  # in the event loop, where nothing is waited for

    def _take_all(self, patience: float = LINGER_SECONDS) -> None:
        """As long as something comes, so that a fast client's bytes cost no hand-over each."""
        try:
            while (written := self._todo.get(timeout=patience)) is not None:
                self._hash(written.start, written.pieces)
                # The memory is to be had again when somebody is told.
                written.pieces.clear()
                self.done += written.size
                self._loop.call_soon_threadsafe(self._more_done.set)
        except queue.Empty:
            pass
        finally:
            self._is_at_work = False

    def _hash(self, start: int, pieces: list[bytes | memoryview]) -> None:
        if self.hasher is None:
            return
        try:
            # A writer before this one may have died without keeping its hash: what it wrote is read back once.
            advance(self.hasher, self._descriptor, start)
        except OSError:
            self.hasher = None
            return
        for piece in pieces:
            self.hasher.update(piece)
