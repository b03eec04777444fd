"""What the processes of this server take of the machine, as Linux tells in /proc."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

_TRIES: Final = 3
_ZOMBIE: Final = b"Z"


class Usage(NamedTuple):
    """How many processes answer requests, and what all processes of the server take together.

    `cpu_seconds` are those of processes that have ended too. `resident_bytes` counts memory that several share once
    for each.
    """

    workers: int
    cpu_seconds: float
    resident_bytes: int


class _Status(NamedTuple):
    state: bytes
    parent: int
    ticks: int
    ticks_of_buried: int
    pages: int


def usage(top: int, others: Iterable[int]) -> Usage | None:
    """That of the process `top` and of those of the others that are its children; None where there is no /proc."""
    found = set(others)
    for _ in range(_TRIES):
        before = _status(top)
        read = (_status(pid) for pid in found - {top})
        children = [status for status in read if status is not None and status.parent == top]
        after = _status(top)
        # A child that was buried meanwhile would be counted twice, or not at all.
        if before is not None and after is not None and before.ticks_of_buried == after.ticks_of_buried:
            break
    if after is None:
        return None
    all_of_them = [after, *children]
    alive = [status for status in children if status.state != _ZOMBIE]
    ticks = after.ticks_of_buried + sum(status.ticks for status in all_of_them)
    pages = sum(status.pages for status in all_of_them)
    return Usage(
        len(alive) + (top in found),
        ticks / os.sysconf("SC_CLK_TCK"),
        pages * os.sysconf("SC_PAGE_SIZE"),
    )


def _status(pid: int) -> _Status | None:
    """What /proc/PID/stat says (proc(5)); the name of the program, in parentheses, may hold anything."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            words = file.read().rpartition(b") ")[2].split()
    except OSError:
        return None
    numbers = list(map(int, words[1:]))
    return _Status(words[0], numbers[0], sum(numbers[10:12]), sum(numbers[12:14]), numbers[20])
