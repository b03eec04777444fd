"""What the disk can do by itself: the limits that writes are held against.

What was written is removed when all has been measured, large files at the end of each limit and small ones at the end
of the run: a disk that is told of each freed block (mounted with `discard`) takes longer for that than for the writing,
and no registry removes what it has just been given.
"""

from __future__ import annotations

import fcntl
import os
import struct
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

_SMALL = b"x" * 512
# Some disks take more than a millisecond for each that is removed afterwards.
_MOST_FILES = 4_000
_FLAGS = struct.Struct("l")
_GET_FLAGS, _SET_FLAGS = 0x80086601, 0x40086602
_TOP_OF_HIERARCHIES = 0x00020000


class Synced(NamedTuple):
    """What came of it: `took` is the seconds of each file."""

    took: list[float]
    seconds: float

    @property
    def rate(self) -> float:
        """Files a second."""
        return len(self.took) / self.seconds


def keep_apart(folder: str) -> None:
    """Have the file system keep apart what will be in each folder that is made in this one, where it can (`chattr +T`).

    Whenever ext4 without a journal makes a file, it passes over each inode of the same group that was freed in the last
    five minutes: what one registry removes would make the files dearer that another makes after it.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):  # other file systems have no such groups
            flags = _FLAGS.unpack(fcntl.ioctl(descriptor, _GET_FLAGS, bytes(_FLAGS.size)))[0]
            fcntl.ioctl(descriptor, _SET_FLAGS, _FLAGS.pack(flags | _TOP_OF_HIERARCHIES))
    finally:
        os.close(descriptor)


def write_rate(folder: str, content: bytes, times: int) -> float:
    """Bytes a second when content is written to a new file and synced, so many times."""
    with tempfile.TemporaryDirectory(prefix="limit-", dir=folder) as place:
        started = time.perf_counter()
        for number in range(times):
            _write_synced(f"{place}/{number}", content)
        return times * len(content) / (time.perf_counter() - started)


def new_files(folder: str, writers: int, seconds: float) -> Synced:
    """Small files that are each written as a new one, and synced, by so many threads at once."""

    def write(place: str, number: int) -> None:
        _write_synced(f"{place}/{number}", _SMALL)

    return _by_many(folder, writers, seconds, write)


def replaced_files(folder: str, writers: int, seconds: float) -> Synced:
    """Small files that are each written beside the one before, synced, and renamed over it; each thread has its own."""

    def replace(place: str, _number: int) -> None:
        _write_synced(f"{place}/next", _SMALL)
        os.rename(f"{place}/next", f"{place}/it")

    return _by_many(folder, writers, seconds, replace)


def _by_many(folder: str, writers: int, seconds: float, write: Callable[[str, int], None]) -> Synced:
    parent = tempfile.mkdtemp(prefix="limit-", dir=folder)
    with ThreadPoolExecutor(writers) as pool:
        started = time.perf_counter()

        def work(writer: int) -> list[float]:
            took: list[float] = []
            place, now = f"{parent}/{writer}", time.perf_counter()
            os.mkdir(place)
            while now < started + seconds and len(took) < _MOST_FILES // writers:
                write(place, len(took))
                now, before = time.perf_counter(), now
                took.append(now - before)
            return took

        times = [each for took in pool.map(work, range(writers)) for each in took]
        return Synced(times, time.perf_counter() - started)


def _write_synced(path: str, content: bytes) -> None:
    with open(path, "wb", buffering=0) as file:
        view = memoryview(content)
        while view:
            view = view[file.write(view) :]
        os.fsync(file.fileno())
