"""Many syncs at once: one after the other where the disk is quick, else made by the kernel side by side.

Side by side, one call begins them all, and one waits for them: a file system puts those that wait together into one
commit of its journal. But the kernel's own threads make them, and where a sync takes microseconds to wake these takes
longer. A thread of ours for each would cost several times as much, since each is woken, and waits for the interpreter's
lock when it ends. It is Linux's asynchronous I/O (`io_submit`), which knows syncs since 4.18. Containers may use it, by
the profiles of Docker and of Kubernetes; they may not use `io_uring`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from cargohold.storage.threads import waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Sync = Callable[[int], None]
    Several = Callable[[Sync, list[int]], None]

_AT_ONCE: Final = 64
_IOCB: Final = struct.Struct("=QIIHhIQQqQII")
_EVENT: Final = struct.Struct("=QQqq")
_FSYNC: Final = 2
_NEVER: Final = frozenset({errno.ENOSYS, errno.EPERM, errno.EACCES})
_TRIED_EVERY: Final = 64
_WEIGHT: Final = 1 / 16


class _Numbers(NamedTuple):
    """The numbers of the system's calls."""

    setup: int
    submit: int
    getevents: int


_GENERIC: Final = _Numbers(0, 2, 4)
_NUMBERS: Final = {
    "x86_64": _Numbers(206, 209, 208),
    "aarch64": _GENERIC,
    "riscv64": _GENERIC,
    "loongarch64": _GENERIC,
}


class _Queue:
    """A queue of the kernel's, for one caller at a time. Raises OSError where there is none to be had."""

    def __init__(self, numbers: _Numbers) -> None:
        self._numbers = numbers
        self._call = ctypes.CDLL(None, use_errno=True).syscall
        self._iocbs = ctypes.create_string_buffer(_IOCB.size * _AT_ONCE)
        self._events = ctypes.create_string_buffer(_EVENT.size * _AT_ONCE)
        first = ctypes.addressof(self._iocbs)
        places = range(first, first + _IOCB.size * _AT_ONCE, _IOCB.size)
        self._pointers = (ctypes.c_void_p * _AT_ONCE)(*places)
        made = ctypes.c_ulong(0)
        if self._call(numbers.setup, ctypes.c_long(_AT_ONCE), ctypes.byref(made)):
            raise OSError(ctypes.get_errno(), "no queue for syncs")
        self._queue = ctypes.c_ulong(made.value)

    def sync(self, descriptors: Sequence[int]) -> list[int]:
        """Begin as many as the kernel takes, and wait for these: of each the error's number, or 0."""
        for place, descriptor in enumerate(descriptors):
            _IOCB.pack_into(
                self._iocbs, place * _IOCB.size, place, 0, 0, _FSYNC, 0, descriptor, 0, 0, 0, 0, 0, 0
            )
        count = ctypes.c_long(len(descriptors))
        taken = max(0, self._call(self._numbers.submit, self._queue, count, self._pointers))
        errors, waiting = [0] * taken, taken
        while waiting:
            # A signal may end a wait. Before all have ended nobody may close their files.
            left = ctypes.c_long(waiting)
            ended = self._call(self._numbers.getevents, self._queue, left, left, self._events, None)
            for number in range(max(0, ended)):
                place, _, result, _ = _EVENT.unpack_from(self._events, number * _EVENT.size)
                errors[place] = -result
                waiting -= 1
        return errors


_idle: list[_Queue] = []
_is_there = sys.platform == "linux" and sys.maxsize > 1 << 32 and platform.machine() in _NUMBERS
# A child has its parent's memory and none of its queues.
os.register_at_fork(after_in_child=_idle.clear)


def sync_together(descriptors: Sequence[int]) -> list[int]:
    """Sync open files and folders at the same time; of each the number of the error, or 0, when all have ended.

    Of the first ones: those that the kernel does not take, for which it has no room or where it knows of no such
    thing, are left out at the end and not synced.
    """
    errors: list[int] = []
    queue = _take()
    if queue is None:
        return errors
    while len(errors) < len(descriptors):
        ended = queue.sync(descriptors[len(errors) : len(errors) + _AT_ONCE])
        if not ended:
            break
        errors += ended
    # Not where it was interrupted: what is under way would end in the hands of the next caller.
    _idle.append(queue)
    return errors


def _take() -> _Queue | None:
    global _is_there  # noqa: PLW0603 - what this system can is found out once
    if not _is_there:
        return None
    try:
        return _idle.pop()
    except IndexError:
        pass
    try:
        return _Queue(_NUMBERS[platform.machine()])
    except OSError as error:
        _is_there = error.errno not in _NEVER
        return None


class Syncs:
    """Syncs in the way that has taken less time of late, for about so many; the other is tried once in 64 times.

    For any thread.
    """

    def __init__(self) -> None:
        self._count = 0
        self._each_takes = 0.0
        # Side by side eight take little longer than two: so it is known of each power of two.
        self._all_take = [0.0] * sys.maxsize.bit_length()

    def sync(
        self,
        descriptors: Sequence[int],
        several: Several,
        *,
        begin: Callable[[], None] = lambda: None,
        are_small: bool = True,
    ) -> None:
        """`begin`, then sync open files and folders; raises an OSError of one of them, when none is under way any more.

        Where the kernel takes none side by side, `several` calls a function for each, several at a time. What files
        that are not small take says nothing of the next.
        """
        if descriptors:
            with waiting(self._will_take(len(descriptors))):
                begun = time.perf_counter()
                begin()
                is_side_by_side = len(descriptors) > 1 and not self._is_one_by_one(len(descriptors))
                _sync(descriptors, several, is_side_by_side=is_side_by_side)
                if are_small:
                    self._note(len(descriptors), time.perf_counter() - begun, is_side_by_side=is_side_by_side)

    def _will_take(self, count: int) -> float:
        """Seconds, as far as is known; 0 before the first."""
        one_by_one, side_by_side = self._each_takes * count, self._all_take[count.bit_length()]
        return min(one_by_one, side_by_side) if side_by_side else one_by_one

    def _note(self, count: int, took: float, *, is_side_by_side: bool) -> None:
        if is_side_by_side:
            size = count.bit_length()
            self._all_take[size] = _weighed(self._all_take[size], took)
        else:
            self._each_takes = _weighed(self._each_takes, took / count)

    def _is_one_by_one(self, count: int) -> bool:
        self._count += 1
        is_quicker = self._each_takes * count <= self._all_take[count.bit_length()]
        return is_quicker != (self._count % _TRIED_EVERY == 0)


def _sync(descriptors: Sequence[int], several: Several, *, is_side_by_side: bool) -> None:
    if not is_side_by_side:
        for descriptor in descriptors:
            os.fsync(descriptor)
        return
    errors = sync_together(descriptors)
    if number := next(filter(None, errors), 0):
        raise OSError(number, os.strerror(number))
    several(os.fsync, list(descriptors[len(errors) :]))


def _weighed(before: float, now: float) -> float:
    return before + (now - before) * _WEIGHT if before else now
