"""Work that takes long beside requests that must not feel it: a little of it, then a rest."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_STEPS: Final = 4
_LEAST_SECONDS: Final = 0.0003
"""Of work before a rest: about as long as somebody else waits for the processor meanwhile, and so never much longer."""
_MOST_SECONDS: Final = 0.002
_NAP: Final = 0.05


class ClosingError(Exception):
    """The work is to end before it is done."""


class Pace:
    """Lets a thread take a `share` (above 0, up to 1) of a processor, and wait for the disk for half of the time.

    With a share of 1 it does not rest at all. `is_closing` is asked at each rest, and during it.
    """

    def __init__(self, is_closing: Callable[[], bool], share: float) -> None:
        self._is_closing = is_closing
        self._rest = 1.0 / share - 1.0
        self._steps = 0
        self._start()

    def _start(self) -> None:
        self._began, self._worked = time.monotonic(), time.thread_time()

    def step(self) -> None:
        """One thing of many was looked at."""
        self._steps += 1
        if self._steps % _STEPS:
            return
        if (
            time.thread_time() - self._worked >= _LEAST_SECONDS
            or time.monotonic() - self._began >= _MOST_SECONDS
        ):
            self.rest()

    def rest(self, least: float = 0.0) -> None:
        """Do nothing for a while, `least` seconds in any case. Raises ClosingError."""
        now = time.monotonic()
        waited = now - self._began if self._rest else 0.0
        until = now + max(least, waited, self._rest * (time.thread_time() - self._worked))
        while not self._is_closing() and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _NAP))
        if self._is_closing():
            raise ClosingError
        self._start()
