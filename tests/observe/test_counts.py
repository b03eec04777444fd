"""Counts that several processes share, whatever becomes of one of them."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cargohold.observe.counts import BOUNDS, METHODS, OTHER, STATUSES, Counts
from cargohold.types.errors import RegistryError
from tests.types.test_errors import tree

if TYPE_CHECKING:
    from cargohold.observe.counts import Row

ROUTES = ("/v2/", "/health")
WAIT_SECONDS = 60.0

_fork = multiprocessing.get_context("fork")


def rows(counts: Counts) -> dict[tuple[str, str], Row]:
    return {(row.method, row.route): row for row in counts.rows()}


def test_nothing_at_first() -> None:
    """What was never asked has no row, and the areas of no process are nobody's."""
    counts = Counts(ROUTES, 4)
    assert (list(counts.rows()), counts.pids()) == ([], set())
    assert (counts.bytes_uploaded(), counts.bytes_downloaded(), counts.lines_dropped()) == (0, 0, 0)
    assert counts.pid == os.getpid()


def test_areas_are_added_up() -> None:
    """Each area counts for itself; whoever reads sees the sum of all, by method, route and status."""
    counts = Counts(ROUTES, 4)
    areas = [counts.area(place) for place in (0, 3)]
    for area in areas:
        area.request("GET", "/v2/", 200, 250_000_000)
        area.request("GET", "/v2/", 401, 400_000)
        area.uploaded(5)
        area.downloaded(7)
    areas[0].request("HEAD", "/health", 200, 100_000_000_000)
    found = rows(counts)
    assert {key: row.statuses for key, row in found.items()} == {
        ("GET", "/v2/"): {"200": 2, "401": 2},
        ("HEAD", "/health"): {"200": 1},
    }
    assert found["GET", "/v2/"].seconds == pytest.approx(0.5008)
    assert (counts.bytes_uploaded(), counts.bytes_downloaded()) == (10, 14)


@given(st.integers(0, 10**12) | st.sampled_from([round(bound * 1e9) for bound in BOUNDS]))
def test_classes_of_durations(nanoseconds: int) -> None:
    """A duration falls into the class of the least bound that is not below it, or into the last."""
    counts = Counts(ROUTES, 1)
    counts.area(0).request("GET", "/v2/", 200, nanoseconds)
    ((durations, total),) = [(row.durations, row.seconds) for row in counts.rows()]
    assert sum(durations) == 1
    assert durations.index(1) == sum(round(bound * 1e9) < nanoseconds for bound in BOUNDS)
    assert total == nanoseconds / 1e9


@given(st.lists(st.tuples(st.text(max_size=8), st.integers(100, 599)), max_size=30))
def test_rows_are_bounded(asked: list[tuple[str, int]]) -> None:
    """Methods and statuses that are not known, and addresses of nothing, are counted together as `other`."""
    counts = Counts(ROUTES, 1)
    area = counts.area(0)
    for method, status in asked:
        area.request(method, "", status, 0)
    assert sum(sum(row.statuses.values()) for row in counts.rows()) == len(asked)
    for row in counts.rows():
        assert row.method in METHODS
        assert row.route == OTHER
        assert row.statuses.keys() <= {*map(str, STATUSES), OTHER}


def test_every_status_is_counted_apart() -> None:
    """No error that the registry knows is counted as `other`."""
    assert {error.status for error in tree(RegistryError)} <= set(STATUSES)


def test_a_successor_counts_on() -> None:
    """Who takes the place of a worker that ended goes on in its area; the lines that it dropped stay counted."""
    counts = Counts(ROUTES, 2)
    for dropped in (3, 4):
        area = counts.area(1)
        area.request("GET", "/v2/", 200, 0)
        area.dropped(1)
        area.dropped(dropped)
    assert rows(counts)["GET", "/v2/"].statuses == {"200": 2}
    assert counts.lines_dropped() == 7


def test_one_too_many_counts_for_itself(caplog: pytest.LogCaptureFixture) -> None:
    """A process beyond all places disturbs nobody, and the log says that it is missing."""
    counts = Counts(ROUTES, 1)
    with caplog.at_level(logging.WARNING):
        counts.area(1).request("GET", "/v2/", 200, 0)
    assert list(counts.rows()) == []
    assert f"worker {os.getpid()} is one too many" in caplog.text


def _count(counts: Counts, place: int, number: int) -> None:
    area = counts.area(place)
    for _ in range(number):
        area.request("GET", "/v2/", 200, 1_000_000)
        area.downloaded(3)
    os.kill(os.getpid(), signal.SIGKILL)


def test_processes_that_are_killed() -> None:
    """What processes have counted that count at once, and are killed then and replaced, is seen to the last one."""
    counts, number, generations = Counts(ROUTES, 3), 2000, 3
    for _ in range(generations):
        processes = [_fork.Process(target=_count, args=(counts, place, number)) for place in range(3)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(WAIT_SECONDS)
            assert process.exitcode == -signal.SIGKILL
            assert process.pid in counts.pids()
    answered = 3 * generations * number
    row = rows(counts)["GET", "/v2/"]
    assert (row.statuses, sum(row.durations)) == ({"200": answered}, answered)
    assert counts.bytes_downloaded() == 3 * answered
