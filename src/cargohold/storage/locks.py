"""Locks that hold between threads and between processes, and that die with who held them.

`flock` on files of a fixed set: it goes with the open file, so it must be opened after the fork (a child would share
its parent's), and never through `lockf` (whose locks a second descriptor of the same process is granted, and whose
every lock is dropped when any descriptor of the file is closed).
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from cargohold.storage.protocols import Unavailable
from cargohold.storage.threads import waiting

if TYPE_CHECKING:
    from collections.abc import Iterator

STRIPES = 64
PATIENCE = 10.0
"""Seconds after which a lock that is not to be had is an error: what is done under one takes milliseconds."""

MOMENT = 0.005
"""Seconds that a thread waits for a lock, before it goes and does something else."""

# What is done under a lock takes less than a millisecond, mostly.
_SHORTEST_PAUSE: Final = 0.000_05
_LONGEST_PAUSE: Final = 0.01
# For which no other thread is begun: it would be waiting for the same lock, mostly.
_SHORT: Final = 0.002


class Busy(Unavailable):
    """Another holds the lock; nothing was done, and asking again may succeed."""


def stripe_of(name: str) -> int:
    """The lock that a name means, from 0 up to `STRIPES`: the same in every process."""
    return zlib.crc32(name.encode()) % STRIPES


class StripedLocks:
    """A fixed number of locks; a name always means the same one, in every process."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._threads = [threading.Lock() for _ in range(STRIPES)]
        self._files: dict[int, OpenFile] = {}

    def prepare(self) -> None:
        """Make the files, so that none is missing when no room is left for one. Raises OSError."""
        for stripe in range(STRIPES):
            os.close(open_lock(self._path(stripe)))

    def _path(self, stripe: int) -> str:
        return f"{self._folder}/{stripe:02x}"

    @contextmanager
    def hold(self, *names: str, seconds: float = MOMENT) -> Iterator[None]:
        """Hold the locks of these names, taken in one order by everyone. Raises Busy when `seconds` have passed."""
        deadline = time.monotonic() + seconds
        held: list[tuple[threading.Lock, int]] = []
        try:
            for stripe in sorted({stripe_of(name) for name in names}):
                held.append(self._take(stripe, deadline))  # noqa: PERF401 - what was taken before one is not had
            yield
        finally:
            for thread, descriptor in reversed(held):
                fcntl.flock(descriptor, fcntl.LOCK_UN)
                thread.release()

    def _take(self, stripe: int, deadline: float) -> tuple[threading.Lock, int]:
        """Take a lock from the threads of this process, and then from other processes; what is to be let go."""
        thread = self._threads[stripe]
        if not thread.acquire(blocking=False):
            left = max(0.0, deadline - time.monotonic())
            if not thread.acquire(timeout=min(left, _SHORT)):
                with waiting(left):
                    is_taken = thread.acquire(timeout=max(0.0, deadline - time.monotonic()))
                if not is_taken:
                    raise Busy("a thread of this process holds a lock of the storage")
        try:
            descriptor = self._descriptor(stripe)
            _wait_for(descriptor, deadline)
        except BaseException:
            thread.release()
            raise
        return thread, descriptor

    def _descriptor(self, stripe: int) -> int:
        """The stripe's file as it is now: one that was removed and made again is locked by others than the old one."""
        path, file = self._path(stripe), self._files.get(stripe)
        if file is not None and not file.is_at(path):
            os.close(self._files.pop(stripe).descriptor)
            file = None
        if file is None:
            file = self._files[stripe] = OpenFile.of(open_lock(path))
        return file.descriptor

    def close(self) -> None:
        """Close the files."""
        while self._files:
            os.close(self._files.popitem()[1].descriptor)


class OpenFile(NamedTuple):
    """An open file, known again by its numbers, which no other has while this one is open."""

    descriptor: int
    device: int
    inode: int

    @classmethod
    def of(cls, descriptor: int) -> Self:
        """The file of a descriptor."""
        status = os.fstat(descriptor)
        return cls(descriptor, status.st_dev, status.st_ino)

    def is_at(self, path: str) -> bool:
        """Whether it is still the one at the path."""
        try:
            status = os.stat(path)
        except FileNotFoundError:
            return False
        return (status.st_dev, status.st_ino) == (self.device, self.inode)


def open_lock(path: str) -> int:
    """A descriptor to lock; its folder is made where it is missing."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o666)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return os.open(path, flags, 0o666)


@contextmanager
def locked(descriptor: int, deadline: float) -> Iterator[None]:
    """Hold the lock of an open file, alone. Raises Busy when `deadline` (monotonic seconds) has passed."""
    _wait_for(descriptor, deadline)
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def _wait_for(descriptor: int, deadline: float) -> None:
    """Take the lock, asked for again and again, since a wait inside the kernel could not be ended."""
    if not _tried_until(descriptor, min(deadline, time.monotonic() + _SHORT)):
        with waiting(deadline - time.monotonic()):
            if not _tried_until(descriptor, deadline):
                raise Busy("another holds a lock of the storage")


def _tried_until(descriptor: int, deadline: float) -> bool:
    """Whether the lock was to be had until then."""
    pause = _SHORTEST_PAUSE
    while not try_lock(descriptor):
        if time.monotonic() >= deadline:
            return False
        time.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE)
    return True


def try_lock(descriptor: int) -> bool:
    """Take the lock of an open file if no one holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
