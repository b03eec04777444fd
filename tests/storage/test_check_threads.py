"""Threads that look at many things at once."""

from __future__ import annotations

import threading
from collections import Counter
from itertools import count, islice
from typing import TYPE_CHECKING

import pytest

from cargohold.storage.filesystem.checking.threads import looked_at

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT = 30.0
MANY = 2_000


def twice(number: int) -> Iterator[int]:
    yield number
    yield number


@pytest.mark.parametrize("jobs", [1, 4])
def test_each_is_looked_at_once(jobs: int) -> None:
    """All that is found comes, and nothing twice."""
    found = Counter(looked_at(jobs, twice, range(MANY), threading.Event()))
    assert found == Counter(dict.fromkeys(range(MANY), 2))


def test_at_once() -> None:
    """So many are looked at, at the same time."""
    together = threading.Barrier(3, timeout=LIMIT)

    def wait(number: int) -> Iterator[int]:
        together.wait()
        yield number

    assert sorted(looked_at(3, wait, range(3), threading.Event())) == [0, 1, 2]


def test_an_error_is_raised_at_the_end() -> None:
    """What others find is not lost by it."""

    def fail(number: int) -> Iterator[int]:
        yield number
        if number == 3:
            raise OSError("of a disk")

    found: list[int] = []
    with pytest.raises(OSError, match="of a disk"):
        found.extend(looked_at(2, fail, range(10), threading.Event()))
    assert sorted(found) == list(range(10))


def test_left_early() -> None:
    """Whoever has enough leaves, and no thread goes on; not even where there is no end."""
    before, closing = threading.active_count(), threading.Event()
    found = looked_at(4, twice, count(), closing)
    assert len(list(islice(found, 10))) == 10
    found.close()
    assert closing.is_set()
    assert threading.active_count() == before


def test_closed_from_elsewhere() -> None:
    """At the sign, it ends."""
    closing = threading.Event()

    def close(number: int) -> Iterator[int]:
        if number == 100:
            closing.set()
        yield number

    assert len(list(looked_at(2, close, count(), closing))) < 1_000
