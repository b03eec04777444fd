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


_GROW = frozenset({"open_file", "write", "rename", "make_folder"})
_ALL = _GROW | {"truncate", "sync_file", "sync_folder", "remove_file", "remove_folder", "set_time"}

FAULTS = {
    "no room": Fault(errno.ENOSPC, _GROW),
    "no room for all of it": Fault(errno.ENOSPC, frozenset({"write"}), torn=True),
    "no room when it is synced": Fault(errno.ENOSPC, frozenset({"sync_file"})),
    "no room for this user": Fault(errno.EDQUOT, _GROW),
    "an error": Fault(errno.EIO, _ALL),
    "a torn write": Fault(errno.EIO, frozenset({"write"}), torn=True),
    "read-only all at once": Fault(errno.EROFS, _ALL - {"write", "sync_file", "sync_folder"}),
}
_BLOCK = struct.Struct("<5i")


class _Order(NamedTuple):
    """What shall fail, and how much did: the `step`-th call from now, or one in so many; 0 for neither."""

    fault: int = 0
    step: int = 0
    lasts: bool = False
    one_in: int = 0
    failed: int = 0


class Control:
    """An order in shared memory: written by a test, followed and counted by the server, whose processes share it."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(mmap.PAGESIZE))
        with path.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), mmap.PAGESIZE)
        self._lock = threading.Lock()
        self._dice = random.Random()

    @property
    def _order(self) -> _Order:
        return _Order._make(_BLOCK.unpack_from(self._shared))

    @_order.setter
    def _order(self, order: _Order) -> None:
        _BLOCK.pack_into(self._shared, 0, *order)

    def arm(self, fault: str, step: int, *, lasts: bool = False) -> None:
        """Let the n-th call that can fail so fail, or that and all after it."""
        self._order = _Order(list(FAULTS).index(fault), step, lasts)

    def arm_dice(self, one_in: int) -> None:
        """Let one in so many calls fail, in any way that it can."""
        self._order = _Order(one_in=one_in)

    def disarm(self) -> int:
        """Let nothing fail any more; how many calls did."""
        failed = self._order.failed
        self._order = _Order()
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
        order = self._order
        if order.one_in:
            fitting = [each for each in FAULTS.values() if name in each.calls]
            fault = self._dice.choice(fitting) if self._dice.randrange(order.one_in) == 0 else None
            self._order = order._replace(failed=order.failed + (fault is not None))
            return fault
        fault = list(FAULTS.values())[order.fault]
        if order.step == 0 or name not in fault.calls:
            return None
        if order.step > 1:
            self._order = order._replace(step=order.step - 1)
            return None
        self._order = order._replace(step=1 if order.lasts else 0, failed=order.failed + 1)
        return fault
