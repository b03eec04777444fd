"""Counts that several processes share, whatever becomes of one of them or of the file."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import time
from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cargohold.storage import counters as counters_module
from cargohold.storage.counters import ENTRIES, Counters
from cargohold.storage.locks import try_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.process import BaseProcess
    from pathlib import Path

PERIOD = 60
WAIT_SECONDS = 60.0

_fork = multiprocessing.get_context("fork")


class Clock:
    """The time of day, as far as this process knows, from the start of a window on."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    stopped = Clock()
    monkeypatch.setattr(time, "time", stopped)
    return stopped


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "cargohold" / "counters")


@pytest.fixture
def counters(path: str) -> Iterator[Counters]:
    table = Counters(path)
    yield table
    table.close()


def at_once(*works: Callable[[], None]) -> None:
    """Do each in a process of its own, and wait for all to end well."""
    processes: list[BaseProcess] = [_fork.Process(target=work) for work in works]
    for process in processes:
        process.start()
    for process in processes:
        process.join(WAIT_SECONDS)
        assert process.exitcode == 0


def test_counts_up_to_the_limit(counters: Counters, clock: Clock) -> None:
    """So many are counted as the limit says, and no more; another key has a count of its own."""
    given = [counters.add("a", PERIOD, limit=3) for _ in range(5)]
    assert given == [1, 2, 3, None, None]
    assert counters.add("b", PERIOD, limit=3) == 1
    assert counters.read("a").at(clock.now, PERIOD).current == 3


def test_what_was_refused_does_not_count(counters: Counters, clock: Clock) -> None:
    """Who goes on asking in vain is let in as soon as one who waits."""
    for _ in range(1000):
        counters.add("a", PERIOD, limit=3)
    clock.now += 2 * PERIOD
    assert counters.add("a", PERIOD, limit=3) == 1


def test_the_window_before_weighs_less_and_less(counters: Counters, clock: Clock) -> None:
    """Across the border of two windows no more pass than the rate; then, evenly, one place comes free after another."""
    clock.now += PERIOD - 1
    assert [counters.add("a", PERIOD, limit=60) for _ in range(61)][-2:] == [60, None]
    clock.now += 1
    assert counters.add("a", PERIOD, limit=60) is None
    for _ in range(PERIOD):
        clock.now += 1
        assert counters.add("a", PERIOD, limit=60) is not None
        assert counters.add("a", PERIOD, limit=60) is None


@given(
    limit=st.integers(1, 20), steps=st.lists(st.tuples(st.integers(0, 90), st.integers(1, 30)), max_size=30)
)
@settings(max_examples=50, deadline=None)
def test_no_burst_is_much_larger_than_the_limit(
    tmp_path_factory: pytest.TempPathFactory, limit: int, steps: list[tuple[int, int]]
) -> None:
    """No window holds more than the limit; a short span holds the limit and its own share of the next, and one."""
    clock, counters = Clock(), Counters(str(tmp_path_factory.mktemp("table") / "counters"))
    let_through: list[float] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", clock)
        for pause, asked in steps:
            clock.now += pause
            passed = sum(counters.add("a", PERIOD, limit=limit) is not None for _ in range(asked))
            let_through.extend([clock.now] * passed)
    counters.close()
    windows = [moment // PERIOD for moment in let_through]
    assert all(windows.count(window) <= limit for window in windows)
    for first, last in combinations(sorted(set(let_through)), 2):
        seen = sum(first <= moment <= last for moment in let_through)
        assert seen <= limit * (1 + (last - first) / PERIOD) + 1


def test_a_clock_that_is_set_back_gives_no_second_helping(counters: Counters, clock: Clock) -> None:
    """A step back over the border of a window, as synchronising makes it, keeps what was counted."""
    assert counters.add("a", PERIOD, limit=1) == 1
    clock.now -= 0.5
    assert counters.add("a", PERIOD, limit=1) is None


def test_a_clock_that_was_far_ahead_locks_nobody_out(counters: Counters, clock: Clock) -> None:
    """Counts of a time that is far in the future count for nothing."""
    assert counters.add("a", PERIOD, limit=1) == 1
    clock.now -= 100 * PERIOD
    assert counters.add("a", PERIOD, limit=1) == 1


def test_cleared_counts_are_gone(counters: Counters) -> None:
    """One key is cleared alone, and all at once."""
    for key in ("a", "b"):
        counters.add(key, 86400)
    counters.clear("a")
    assert (counters.read("a").current, counters.read("b").current) == (0, 1)
    counters.clear_all()
    assert counters.read("b").current == 0


def test_several_processes_count_together(
    path: str, counters: Counters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four processes that add at once get through exactly as many as the limit, and the table says so."""
    # On a busy machine who holds the lock may have to wait for a processor longer than one waits for the lock.
    monkeypatch.setattr(counters_module, "WAIT_SECONDS", WAIT_SECONDS)
    passed = _fork.Array("i", 4)

    def add(number: int) -> None:
        own = Counters(path)
        for _ in range(1000):
            passed[number] += own.add("a", 86400, limit=1500) is not None
            time.sleep(0.0001)  # a request does more than count

    at_once(*(partial(add, number) for number in range(4)))
    assert sum(passed[:]) == 1500
    assert counters.read("a").current == 1500


def test_the_death_of_who_holds_the_lock_frees_it(path: str, counters: Counters) -> None:
    """A process that is killed in the midst of counting holds up nobody, and counts are whole afterwards."""
    with locked_by_another(path) as other:
        other.kill()
        other.join(WAIT_SECONDS)
        assert [counters.add("a", 86400) for _ in range(3)] == [1, 2, 3]


def test_who_sleeps_with_the_lock_is_not_waited_for(path: str, counters: Counters) -> None:
    """Then limits still hold by what was counted, but nothing more is; afterwards counting goes on."""
    counters.add("a", 86400, 2)
    with locked_by_another(path):
        assert [counters.add("a", 86400, limit=3) for _ in range(100)] == [3] * 100
        assert counters.add("a", 86400, limit=2) is None
    assert counters.read("a").current == 2
    assert counters.add("a", 86400) == 3


class locked_by_another:  # noqa: N801 - a context
    """A process that holds the lock of the table, until it dies or the block ends."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> BaseProcess:
        holds = _fork.Event()

        def hold() -> None:
            descriptor = os.open(self._path, os.O_RDWR)
            assert try_lock(descriptor)
            holds.set()
            signal.sigtimedwait([], WAIT_SECONDS)

        self._process = _fork.Process(target=hold)
        self._process.start()
        assert holds.wait(WAIT_SECONDS)
        return self._process

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join(WAIT_SECONDS)


def test_counts_outlive_the_server(path: str) -> None:
    """Who starts again, or is started in the place of one that died, goes on with what was counted."""
    first = Counters(path)
    first.add("a", 86400, 5)
    first.close()
    second = Counters(path)
    assert second.add("a", 86400) == 6
    second.close()


def test_a_file_that_is_removed_is_made_again(path: str) -> None:
    """All processes find together again on the new file, with new counts, while they run."""
    tables = [Counters(path) for _ in range(2)]
    tables[0].add("a", 86400, 5)
    os.unlink(path)
    deadline = time.monotonic() + WAIT_SECONDS
    while not os.path.exists(path) and time.monotonic() < deadline:
        time.sleep(0.1)
        tables[0].add("warm", 86400)
    while tables[1].read("warm") != tables[0].read("warm") and time.monotonic() < deadline:
        time.sleep(0.1)
        tables[1].add("warmer", 86400)
    assert tables[0].add("a", 86400) == 1
    assert tables[1].add("a", 86400) == 2
    for table in tables:
        table.close()


@pytest.mark.parametrize("garbage", [b"", b"counts", b"\xff" * 100, b"\0" * 4_000_000, b"\xff" * 4_000_000])
def test_a_damaged_file_is_made_anew(path: str, garbage: bytes) -> None:
    """What is no table, or only the beginning of one, becomes an empty one."""
    os.makedirs(os.path.dirname(path))
    with open(path, "wb") as file:
        file.write(garbage)
    counters = Counters(path)
    assert [counters.add("a", 86400, limit=2) for _ in range(3)] == [1, 2, None]
    counters.close()


@given(st.binary(min_size=64, max_size=4096))
@settings(max_examples=50, deadline=None)
def test_damaged_entries_do_no_harm(tmp_path_factory: pytest.TempPathFactory, noise: bytes) -> None:
    """Whatever bytes entries are overwritten with, counting goes on, and keys that are new begin at one."""
    path = str(tmp_path_factory.mktemp("table") / "counters")
    Counters(path).close()
    with open(path, "r+b") as file:
        whole = os.path.getsize(path) - 64
        file.seek(64)
        file.write((noise * (whole // len(noise) + 1))[:whole])
    counters = Counters(path)
    for number in range(20):
        assert counters.add(f"{number}", 86400, limit=5) == 1
        assert counters.add(f"{number}", 86400, limit=5) == 2
    counters.close()


def test_a_table_that_cannot_be_written_counts_for_one_process(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Where there is no room for the file, limits hold within each process, and the log says so."""
    os.makedirs(path)  # a folder in its place, which not even root can write to
    with caplog.at_level(logging.WARNING):
        counters = Counters(path)
    assert path in caplog.text
    assert [counters.add("a", 86400, limit=2) for _ in range(3)] == [1, 2, None]
    assert counters.add("b", 86400) == 1
    counters.close()


def test_a_flood_of_keys_does_not_grow_the_table(path: str, counters: Counters) -> None:
    """The file stays as it is, and a count that is worth something outlives three times as many keys as fit."""
    size = os.path.getsize(path)
    for _ in range(20):
        counters.add("victim", 86400, limit=20)
    for number in range(3 * ENTRIES):
        assert counters.add(f"flood {number}", 86400, limit=20) == 1
    assert counters.add("victim", 86400, limit=20) is None
    assert os.path.getsize(path) == size
    assert os.stat(path).st_blocks * 512 >= size


def test_the_file_is_for_its_user_alone(path: str, counters: Counters) -> None:
    """Others could otherwise read the key by which places are chosen, or count for somebody."""
    counters.add("a", PERIOD)
    assert os.stat(path).st_mode & 0o077 == 0


def test_tables_choose_places_by_a_key_of_their_own(tmp_path: Path) -> None:
    """Two tables lay the same key elsewhere, so that nobody can know which keys meet."""
    tables = [Counters(str(tmp_path / name)) for name in ("one", "two")]
    keys = [f"{number}" for number in range(8)]
    assert [tables[0]._place(key) for key in keys] != [tables[1]._place(key) for key in keys]
    for table in tables:
        table.close()
