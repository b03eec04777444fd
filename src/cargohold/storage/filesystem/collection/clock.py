"""How the clock goes: leases are times of the clock, and say nothing where it was set in between."""

from __future__ import annotations

import sys
import time
from typing import Final

import msgspec

from cargohold.storage.boot import boot_id
from cargohold.storage.durable import replace_unsynced
from cargohold.storage.filesystem.collection.linked import without_room
from cargohold.storage.filesystem.tree import read_file
from cargohold.storage.protocols import StoreError

_JUMP: Final = 1.0
"""Seconds by which a clock may be set without harm: a leap second is one."""


class Void(StoreError):
    """A run cannot be gone on with, since what it knows may not be so any more; the next begins anew."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"{reason}: this run has ended, and the next begins anew")


class ClockSet(Void):
    """The clock was set since the run began."""

    def __init__(self) -> None:
        super().__init__("the clock was set since the collector began")


class Jump(msgspec.Struct):
    """The clock was set forward by so many `seconds`, which was `noticed` then (seconds since the epoch)."""

    seconds: float
    noticed: float


class _Known(msgspec.Struct):
    boot: str
    shift: float
    jumps: list[Jump]

    def note(self, shifted: float, now: float) -> bool:
        """Add what has happened until now; whether anything has."""
        moved = shifted - self.shift
        if abs(moved) <= _JUMP:
            return False
        self.shift = shifted
        for jump in self.jumps:
            jump.noticed += moved
        if moved > 0:
            self.jumps.append(Jump(moved, now))
        return True


def shift() -> float:
    """How far the clock is from one that is never set, and goes on while the machine sleeps; in seconds.

    It can be compared between processes, within one run of the machine.
    """
    steady = time.clock_gettime(time.CLOCK_BOOTTIME) if sys.platform == "linux" else time.monotonic()
    return time.time() - steady


def is_set(since: float) -> bool:
    """Whether the clock was set since `shift` was that."""
    return abs(shift() - since) > _JUMP


class Clock:
    """The clock from one run to the next, as noted in `folder`; for whoever holds the collector's lock. Not durable."""

    def __init__(self, folder: str) -> None:
        self._path = f"{folder}/clock"
        self._shift = shift()

    def check(self) -> None:
        """Raise ClockSet where it was set since this was made."""
        if is_set(self._shift):
            raise ClockSet

    def allowance(self, age: float, *, longest: float, is_dry: bool = False) -> float:
        """By how many seconds leases may be younger than they seem, since the clock was set forward in between.

        `age` is how old the run lets them grow, and `longest` what any run may. A dry run notes nothing.
        """
        now, known = time.time(), self._read()
        if known is None or known.boot != boot_id():
            # What the clock did before is not known. Jumps that were noticed before are still allowed for.
            known = _Known(boot_id(), self._shift, known.jumps if known else [])
            is_changed = True
        else:
            is_changed = known.note(self._shift, now)
        known.jumps = [jump for jump in known.jumps if now - jump.noticed < longest]
        if is_changed and not is_dry:
            with without_room():
                replace_unsynced(self._path, msgspec.json.encode(known))
        return sum(jump.seconds for jump in known.jumps if now - jump.noticed < age)

    def _read(self) -> _Known | None:
        try:
            return msgspec.json.decode(read_file(self._path), type=_Known)
        except (FileNotFoundError, ValueError):
            return None
