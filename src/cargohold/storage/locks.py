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
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from cargohold.storage.protocols import Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

STRIPES = 64
PATIENCE = 10.0
"""Seconds after which a lock that is not to be had is an error: what is done under one takes milliseconds."""

MOMENT = 0.005
"""Seconds that a thread waits for a lock, before it goes and does something else."""


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
        self._descriptors: dict[int, int] = {}

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
        with ExitStack() as held:
            for stripe in sorted(set(map(stripe_of, names))):
                held.enter_context(self._hold(stripe, deadline))
            yield

    @contextmanager
    def _hold(self, stripe: int, deadline: float) -> Iterator[None]:
        thread = self._threads[stripe]
        if not thread.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise Busy("a thread of this process holds a lock of the storage")
        try:
            with locked(self._descriptor(stripe), deadline):
                yield
        finally:
            thread.release()

    def _descriptor(self, stripe: int) -> int:
        """The stripe's file as it is now: one that was removed and made again is locked by others than the old one."""
        path, descriptor = self._path(stripe), self._descriptors.get(stripe)
        if descriptor is not None and not is_at(path, descriptor):
            os.close(self._descriptors.pop(stripe))
            descriptor = None
        if descriptor is None:
            descriptor = self._descriptors[stripe] = open_lock(path)
        return descriptor

    def close(self) -> None:
        """Close the files."""
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])


def open_lock(path: str) -> int:
    """A descriptor to lock; its folder is made where it is missing."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o666)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return os.open(path, flags, 0o666)


def is_at(path: str, descriptor: int) -> bool:
    """Whether an open file is still the one at the path."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


@contextmanager
def locked(descriptor: int, deadline: float) -> Iterator[None]:
    """Hold the lock of an open file, alone. Raises Busy when `deadline` (monotonic seconds) has passed.

    It asks again and again, since a wait inside the kernel could not be ended.
    """
    pause = 0.0002
    while not try_lock(descriptor):
        if time.monotonic() >= deadline:
            raise Busy("another holds a lock of the storage")
        time.sleep(pause)
        pause = min(pause * 2, 0.01)
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def try_lock(descriptor: int) -> bool:
    """Take the lock of an open file if no one holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
