"""Rates over the shared table, and the table as a storage of the `limits` library."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from limits import parse
from limits.strategies import FixedWindowRateLimiter, SlidingWindowCounterRateLimiter

from cargohold.storage.counters import Counters
from cargohold.storage.rates import CounterStorage, Rate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOON = 1_800_000_000.5 - 1_800_000_000 % 86400 + 43200


class Clock:
    """The time of day, as far as this process knows."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    stopped = Clock()
    monkeypatch.setattr(time, "time", stopped)
    return stopped


@pytest.fixture
def counters(tmp_path: Path) -> Iterator[Counters]:
    table = Counters(str(tmp_path / "counters"))
    yield table
    table.close()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("3/second", 1), ("3/10second", 10), ("3/minute", 60), ("3/hour", 3600), ("3/day", 86400)],
)
def test_a_rate_holds_for_its_time(counters: Counters, clock: Clock, text: str, seconds: int) -> None:
    """As many pass in its time as it says; when twice its time is over, all is as it was."""
    clock.now -= clock.now % seconds - 0.001
    rate = Rate(text, "kind", counters)
    assert [rate.take("ann") for _ in range(5)] == [True] * 3 + [False] * 2
    clock.now += seconds - 0.01
    assert not rate.take("ann")
    clock.now += seconds + 0.01
    assert [rate.take("ann") for _ in range(5)] == [True] * 3 + [False] * 2


def test_kinds_and_people_are_counted_apart(counters: Counters) -> None:
    """What one used up is nothing to another, nor to the same one in another kind."""
    reads, writes = Rate("1/hour", "reads", counters), Rate("1/hour", "writes", counters)
    assert [rate.take(who) for rate in (reads, writes) for who in ("ann", "bob")] == [True] * 4
    assert [rate.take(who) for rate in (reads, writes) for who in ("ann", "bob")] == [False] * 4


def test_standing_says_when_to_come_again(counters: Counters, clock: Clock) -> None:
    """Whoever comes when the standing says so is let through, and a second before is refused."""
    rate = Rate("4/minute", "kind", counters)
    assert (rate.standing("ann").limit, rate.standing("ann").remaining) == (4, 4)
    for _ in range(4):
        assert rate.take("ann")
    for _ in range(10):
        standing = rate.standing("ann")
        assert standing.remaining == 0
        assert clock.now <= standing.reset_second < clock.now + standing.wait + 1
        clock.now += standing.wait - 1
        assert not rate.take("ann")
        clock.now += 1.001
        assert rate.standing("ann").remaining == 1
        assert rate.take("ann")


def test_names_of_all_sorts_are_counted(counters: Counters) -> None:
    """A name may hold what it likes, even what UTF-8 cannot: it never ends in another's count."""
    rate = Rate("1/hour", "kind", counters)
    names = ["", "/", "a/b", "a", "b", "\udcff", "x" * 100_000, "ann/1/1/hour"]
    assert [rate.take(name) for name in names] == [True] * len(names)
    assert [rate.take(name) for name in names] == [False] * len(names)


def test_times_widens_a_rate(counters: Counters) -> None:
    """Ten times a rate lets ten times as many through in the same time."""
    rate = Rate("2/hour", "kind", counters, times=10)
    assert sum(rate.take("ann") for _ in range(30)) == 20
    assert rate.standing("ann").limit == 20


@pytest.mark.parametrize("strategy", [FixedWindowRateLimiter, SlidingWindowCounterRateLimiter])
def test_the_library_counts_on_the_table(
    counters: Counters,
    clock: Clock,
    strategy: type[FixedWindowRateLimiter | SlidingWindowCounterRateLimiter],
) -> None:
    """Strategies of the library find in the table what they ask of a storage."""
    storage = CounterStorage(counters)
    limiter, item = strategy(storage), parse("3/minute")
    assert storage.check()
    assert limiter.get_window_stats(item, "ann").remaining == 3
    assert [limiter.hit(item, "ann") for _ in range(4)] == [True] * 3 + [False]
    assert not limiter.test(item, "ann")
    stats = limiter.get_window_stats(item, "ann")
    assert (stats.remaining, stats.reset_time) == (0, NOON + 59.5)
    limiter.clear(item, "ann")
    assert limiter.hit(item, "ann", cost=3)
    storage.reset()
    assert limiter.test(item, "ann")
    clock.now += 120
    assert limiter.get_window_stats(item, "ann").remaining == 3
