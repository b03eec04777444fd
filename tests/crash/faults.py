"""Disks that fail: the n-th call of a server, or one in so many, as a test that is another process says."""

from __future__ import annotations

import errno
import mmap
import os
import random
import struct
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Fault(NamedTuple):
    """What a disk does. Of a `torn` write a part is on the disk; `calls` are those that fail so."""

    error: int
    calls: frozenset[str]
    torn: bool = False


_GROW = frozenset({"open_file", "write", "rename", "link", "make_folder"})
_ALL = _GROW | {
    "exchange",
    "truncate",
    "sync_file",
    "sync_folder",
    "remove_file",
    "remove_folder",
    "set_time",
}

FAULTS = {
    "no room": Fault(errno.ENOSPC, _GROW),
    "no room for all of it": Fault(errno.ENOSPC, frozenset({"write"}), torn=True),
    "no room when it is synced": Fault(errno.ENOSPC, frozenset({"sync_file"})),
    "no room for this user": Fault(errno.EDQUOT, _GROW),
    "an error": Fault(errno.EIO, _ALL),
    "a torn write": Fault(errno.EIO, frozenset({"write"}), torn=True),
    "read-only all at once": Fault(errno.EROFS, _ALL - {"write", "sync_file", "sync_folder"}),
}
_ORDER, _DONE = struct.Struct("<5i"), struct.Struct("<3i")


class _Order(NamedTuple):
    """What shall fail: the `step`-th call from now on, or one in so many; 0 for neither. Each has its own `number`."""

    number: int = 0
    fault: int = 0
    step: int = 0
    lasts: bool = False
    one_in: int = 0


class _Done(NamedTuple):
    """What came of the order of this `number`: how many calls of its kind there were, and how many of them failed."""

    number: int
    calls: int = 0
    failed: int = 0


class Control:
    """An order in shared memory, written by a test alone; and what came of it, by the server, whose processes share it.

    So what the server still does when the order is withdrawn cannot bring it back.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(mmap.PAGESIZE))
        with path.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), mmap.PAGESIZE)
        self._lock = threading.Lock()
        self._dice = random.Random()

    @property
    def _order(self) -> _Order:
        return _Order._make(_ORDER.unpack_from(self._shared))

    @property
    def _done(self) -> _Done:
        number, done = self._order.number, _Done._make(_DONE.unpack_from(self._shared, _ORDER.size))
        return done if done.number == number else _Done(number)

    def _give(self, fault: int = 0, step: int = 0, *, lasts: bool = False, one_in: int = 0) -> None:
        _ORDER.pack_into(self._shared, 0, self._order.number + 1, fault, step, lasts, one_in)

    def _count(self, before: _Done, *, fails: bool) -> None:
        done = before._replace(calls=before.calls + 1, failed=before.failed + fails)
        _DONE.pack_into(self._shared, _ORDER.size, *done)

    def arm(self, fault: str, step: int, *, lasts: bool = False) -> None:
        """Let the n-th call that can fail so fail, or that and all after it."""
        self._give(list(FAULTS).index(fault), step, lasts=lasts)

    def arm_dice(self, one_in: int) -> None:
        """Let one in so many calls fail, in any way that it can."""
        self._give(one_in=one_in)

    def disarm(self) -> int:
        """Let nothing fail any more; how many calls did."""
        failed = self._done.failed
        self._give()
        return failed

    def around(self, name: str, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Any:
        """Make a call, or fail."""
        with self._lock:
            fault = self._due(name)
        if fault is None:
            return call(*arguments, **named)
        if fault.torn:
            descriptor, content = arguments
            call(descriptor, content[: len(content) // 2])
        paths = [each for each in arguments if isinstance(each, str)]
        raise OSError(fault.error, os.strerror(fault.error), *paths[:1])

    def _due(self, name: str) -> Fault | None:
        order, done = self._order, self._done
        if order.one_in:
            fitting = [each for each in FAULTS.values() if name in each.calls]
            fault = self._dice.choice(fitting) if self._dice.randrange(order.one_in) == 0 else None
            self._count(done, fails=fault is not None)
            return fault
        fault = list(FAULTS.values())[order.fault]
        if order.step == 0 or name not in fault.calls:
            return None
        step = done.calls + 1
        fails = step >= order.step if order.lasts else step == order.step
        self._count(done, fails=fails)
        return fault if fails else None
