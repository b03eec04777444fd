"""The calls of the system that change the tree. Every one of them is made here and nowhere else.

So tests can make each of them fail, kill the process before it, or keep a log of them all and play it back up to a
power cut. They are therefore called as what they are, attributes of this module (`disk.rename(...)`), and never
imported by their names. Each raises OSError as the system does, and none of them is durable but for the two syncs.

Apart are files whose writers the disk does not order, so that no sync and no failure here would say anything of
them: locks (empty), the tables in shared memory (`counters`, `generation`, `totals`) and the ledgers of quotas, which
are counted anew when they are lost or spoiled, the database, whose syncs are SQLite's, and the keys of tokens, which
are made anew.
"""

from __future__ import annotations

import ctypes
import errno
import os
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from cargohold.storage.together import Syncs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cargohold.storage.together import Several

CALLS: Final = (
    "open_file",
    "write",
    "truncate",
    "sync_file",
    "sync_folder",
    "rename",
    "link",
    "exchange",
    "make_folder",
    "remove_file",
    "remove_folder",
    "set_time",
)
"""The names of all of them."""

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC


def open_file(path: str, *, is_new: bool = True) -> int:
    """A descriptor of a file, to read and to write. It is made; unless `is_new`, it may be there already."""
    return os.open(path, _FLAGS | os.O_EXCL if is_new else _FLAGS, 0o666)


def write(descriptor: int, content: bytes | memoryview) -> int:
    """Write at the file's position; how many bytes were written, which may be fewer than there are."""
    return os.write(descriptor, content)


def truncate(descriptor: int, size: int) -> None:
    """Cut a file, or fill it up with zeros, to this size."""
    os.ftruncate(descriptor, size)


# Only Linux has it.
_sync_file_range = getattr(ctypes.CDLL(None), "sync_file_range", None)
if _sync_file_range is not None:
    _sync_file_range.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
_SYNC_FILE_RANGE_WRITE = 2


def start_writing(descriptor: int, start: int, stop: int) -> None:
    """Have the system begin to put a part of an open file onto the disk, where it can: a sync then has less to do.

    All from `start` on, where `stop` is the same.

    Nothing is durable by it, and it says nothing of what fails: `sync_file` does.
    """
    if _sync_file_range is not None:
        _sync_file_range(descriptor, start, stop - start, _SYNC_FILE_RANGE_WRITE)


def sync_file(descriptor: int) -> None:
    """Make the bytes of an open file durable.

    After a failure the system may have forgotten what it could not write, and a second call that succeeds proves
    nothing: the file is to be thrown away and written anew.
    """
    os.fsync(descriptor)


def sync_folder(path: str) -> None:
    """Make durable which names there are in a folder, and what they stand for."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_syncs = Syncs()


def sync_all(
    files: Sequence[int], folders: Iterable[str], several: Several, *, are_small: bool = True
) -> None:
    """As `sync_file` of each of the open files, and `sync_folder` of each folder, the quickest way.

    Raises an error when none is under way any more. A folder that is not there has nothing left to be synced. Where the
    kernel does not take several at once, `several` calls a function for each of them. How long it takes is only
    remembered for the next time where the files `are_small`.
    """
    opened: list[int] = []
    try:
        for path in folders:
            with suppress(FileNotFoundError):
                opened.append(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        _syncs.sync([*files, *opened], several, begin=partial(_begin_writing, files), are_small=are_small)
    finally:
        for descriptor in opened:
            os.close(descriptor)


def _begin_writing(files: Sequence[int]) -> None:
    """Where the bytes of all are on their way, a block of the disk that several are told in is written once."""
    if len(files) > 1:
        for descriptor in files:
            start_writing(descriptor, 0, 0)


def rename(old: str, new: str) -> None:
    """Move a file or a folder, atomically, to where it takes the place of a file or of an empty folder."""
    os.rename(old, new)


def link(path: str, name: str) -> None:
    """Give a file a second name, at which nothing must be yet. Raises OSError too where it cannot have one."""
    os.link(path, name)


# Only Linux has it, and not every file system there.
_renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def exchange(first: str, second: str) -> None:
    """Put each of two files in the other's place, atomically. Raises OSError (EINVAL) where that cannot be done."""
    if _renameat2 is None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), first, None, second)
    if _renameat2(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), first, None, second)


def make_folder(path: str) -> None:
    """Make one folder, which must not be there yet."""
    os.mkdir(path)


def remove_file(path: str) -> None:
    """Take away the name of a file or a link."""
    os.unlink(path)


def remove_folder(path: str) -> None:
    """Take away an empty folder."""
    os.rmdir(path)


def set_time(path: str, nanoseconds: int | None = None) -> None:
    """Set when a file or a folder was last read and changed; to now, by the clock of the file system, for None."""
    if nanoseconds is None:
        os.utime(path)
    else:
        os.utime(path, ns=(nanoseconds, nanoseconds))
