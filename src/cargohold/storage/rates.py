"""Rates, such as 600/minute, by the `limits` library over the table of counters.

The strategy is the sliding window counter: a fixed window would let twice as many through at once, at its border.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, NamedTuple

from limits import RateLimitItem, parse
from limits.storage.base import SlidingWindowCounterSupport, Storage
from limits.strategies import SlidingWindowCounterRateLimiter

if TYPE_CHECKING:
    from cargohold.storage.counters import Counters


class CounterStorage(Storage, SlidingWindowCounterSupport):
    """The table of counters as a storage of the `limits` library, whose classes state the contract."""

    STORAGE_SCHEME = None

    def __init__(self, counters: Counters) -> None:
        super().__init__()
        self._counters = counters

    @property
    def base_exceptions(self) -> type[Exception]:
        """Never raised."""
        return OSError

    def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count, unless that would pass the limit."""
        return self._counters.add(key, expiry, amount, limit=limit) is not None

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """The count of the window before and the seconds for which it weighs; the same of the window that runs."""
        now = time.time()
        window = self._counters.read(key).at(now, expiry)
        left = window.start + expiry - now
        return window.previous, left if window.previous else 0.0, window.current, left + expiry

    def clear_sliding_window(self, key: str, expiry: int) -> None:  # noqa: ARG002 - an entry knows its period
        """Forget the counts of a key."""
        self._counters.clear(key)

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count in a fixed window, which begins at a multiple of its length."""
        counted = self._counters.add(key, expiry, amount)
        assert counted is not None, "nothing limits it"
        return counted

    def get(self, key: str) -> int:
        """The count of the fixed window that runs."""
        window = self._counters.read(key)
        return window.current if time.time() < window.start + window.period else 0

    def get_expiry(self, key: str) -> float:
        """When the fixed window ends."""
        window = self._counters.read(key)
        return max(window.start + window.period, time.time())

    def check(self) -> bool:
        """It is always to be had."""
        return True

    def reset(self) -> None:
        """Forget all counts."""
        self._counters.clear_all()

    def clear(self, key: str) -> None:
        """Forget the counts of a key."""
        self._counters.clear(key)


class Standing(NamedTuple):
    """How somebody stands with a rate.

    `remaining` is how many more are let through at once; `reset` is when (seconds of the epoch) it next grows.
    """

    limit: int
    remaining: int
    reset: float

    @property
    def reset_second(self) -> int:
        """The first whole second at which it has grown."""
        return math.ceil(round(self.reset, 3))

    @property
    def wait(self) -> int:
        """Whole seconds until it has grown, at least 1."""
        return max(1, math.ceil(self.reset - time.time()))


class Rate:
    """So many in so long, for each of those who are counted.

    `text` is as settings write it; what is counted as `kind` is apart from other kinds.
    """

    def __init__(self, text: str, kind: str, counters: Counters, *, times: int = 1) -> None:
        item = parse(text)
        self._item: RateLimitItem = type(item)(item.amount * times, item.multiples, kind)
        self._strategy = SlidingWindowCounterRateLimiter(CounterStorage(counters))

    def take(self, who: str) -> bool:
        """Count one more; False, and it is not counted, where that would pass the rate."""
        return self._strategy.hit(self._item, who)

    def standing(self, who: str) -> Standing:
        """How they stand with it."""
        reset, remaining = self._strategy.get_window_stats(self._item, who)
        return Standing(self._item.amount, remaining, reset)
