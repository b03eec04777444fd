"""The hash of an upload session so far, kept beside it, so that no byte is hashed twice.

The state is worth something only while the bytes that it was made from are surely in the file: within one run of the
machine. After a power cut the file may have lost what the state remembers, so a state names the boot that it is of.
A state that is missing, of another boot, or of another build of the hash costs a reading of the file, and no more.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import struct
from collections import deque
from typing import TYPE_CHECKING

from cargohold.storage import disk
from cargohold.storage.boot import boot_id
from cargohold.storage.durable import make_folders, remove, write_all
from cargohold.types.digest import Algorithm, Digest, Hasher

if TYPE_CHECKING:
    from cargohold.storage.filesystem.tree import Tree

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


class RunningHash:
    """A session's hash, taken on in a thread beside the next write: behind what is written, and never before it.

    For one event loop. `done` is how many of its bytes need not be held any more. Without a hasher nothing is hashed;
    the file is read at the end of the session then.
    """

    def __init__(self, tree: Tree, hasher: Hasher | None, descriptor: int) -> None:
        self.done = 0
        self._tree = tree
        self._hasher = hasher
        self._descriptor = descriptor
        self._todo: deque[tuple[int, list[bytes]]] = deque()
        self._more_done = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    @property
    def is_idle(self) -> bool:
        """Whether all that was added is hashed."""
        return not self._todo

    def take(self, start: int, pieces: list[bytes]) -> None:
        """Hash at once (in a thread) what has been written from `start` on; only while it is idle."""
        self._hash(start, pieces)
        self.done += sum(map(len, pieces))

    def add(self, start: int, pieces: list[bytes]) -> None:
        """Have hashed what has been written from `start` on, in the order of these calls."""
        self._todo.append((start, pieces))
        if self._running is None:
            self._running = asyncio.ensure_future(self._run())

    async def until_done(self, count: int) -> None:
        """Wait until so many bytes are."""
        while self.done < count:
            self._more_done.clear()
            if self.done < count:
                await self._more_done.wait()

    async def end(self) -> Hasher | None:
        """Wait until all is hashed; the hasher, which no thread uses any more."""
        while self._running is not None:
            await asyncio.shield(self._running)
        return self._hasher

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._todo:
                await self._tree.in_bulk(self._take_all, loop)
        finally:
            self._running = None
            if self._todo:  # it was cancelled
                self._hasher = None
                self._take_all(loop)

    def _take_all(self, loop: asyncio.AbstractEventLoop) -> None:
        """As long as there is something, so that a fast client's bytes cost no hand-over each."""
        while self._todo:
            start, pieces = self._todo[0]
            size = sum(map(len, pieces))
            self._hash(start, pieces)
            del self._todo[0], pieces
            self.done += size
            loop.call_soon_threadsafe(self._more_done.set)

    def _hash(self, start: int, pieces: list[bytes]) -> None:
        if self._hasher is None:
            return
        try:
            # A writer before this one may have died without keeping its hash: what it wrote is read back once.
            advance(self._hasher, self._descriptor, start)
        except OSError:
            self._hasher = None
            return
        for piece in pieces:
            self._hasher.update(piece)
