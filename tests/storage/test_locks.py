"""Locks that hold between threads and processes, and die with who held them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import pytest

from cargohold.storage.locks import STRIPES, StripedLocks, locked, open_lock, try_lock
from cargohold.storage.protocols import Unavailable
from cargohold.storage.threads import Threads

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_HOLDER = """
import sys, time
from cargohold.storage.locks import StripedLocks
locks = StripedLocks(sys.argv[1])
with locks.hold(*sys.argv[2:], seconds=10):
    print("held", flush=True)
    time.sleep(60)
"""

_COUNTER = """
import sys
from cargohold.storage.locks import StripedLocks
locks = StripedLocks(sys.argv[1])
for _ in range(int(sys.argv[3])):
    with locks.hold("a", "b", seconds=10):
        with open(sys.argv[2], "r+") as file:
            count = int(file.read())
            file.seek(0)
            file.write(str(count + 1))
"""


@pytest.fixture
def one(tmp_path: Path) -> Iterator[StripedLocks]:
    made = StripedLocks(str(tmp_path))
    yield made
    made.close()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[StripedLocks]:
    """As another process has them."""
    made = StripedLocks(str(tmp_path))
    yield made
    made.close()


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock of `a` until it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, tmp_path, "a"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait(10)
    process.stdout.close()


def test_excludes(one: StripedLocks, other: StripedLocks) -> None:
    """Who asks for a lock that another holds waits, and is told when it takes too long; later he has it."""
    with one.hold("a"), pytest.raises(Unavailable), other.hold("a"):
        raise AssertionError("held twice")
    with other.hold("a"):
        pass


def test_excludes_threads(one: StripedLocks) -> None:
    """Threads of one process exclude each other too."""

    def ask() -> None:
        with one.hold("a", seconds=0.2):
            raise AssertionError("held twice")

    with ThreadPoolExecutor(1) as pool, one.hold("a"), pytest.raises(Unavailable):
        pool.submit(ask).result(10)


def test_waits_its_turn(one: StripedLocks, other: StripedLocks) -> None:
    """The lock is had as soon as it is let go, well before patience ends."""
    taken = threading.Event()

    def ask() -> None:
        with other.hold("a", seconds=10):
            taken.set()

    with ThreadPoolExecutor(1) as pool:
        with one.hold("a", seconds=10):
            waiting = pool.submit(ask)
            assert not taken.wait(0.1)
        waiting.result(5)
    assert taken.is_set()


def test_names_of_one_stripe(one: StripedLocks) -> None:
    """Any names can be held together, those that share a stripe too."""
    names = [f"name{number}" for number in range(STRIPES * 4)]
    with one.hold(*names):
        pass
    with one.hold("a", "a"):
        pass


def test_one_order(one: StripedLocks, other: StripedLocks) -> None:
    """Two who hold the same locks, named in other orders, never wait for each other for good."""
    names = [f"name{number}" for number in range(10)]

    def work(striped: StripedLocks, order: list[str]) -> int:
        for _ in range(200):
            with striped.hold(*order, seconds=10):
                pass
        return 200

    with ThreadPoolExecutor(4) as pool:
        jobs = [
            pool.submit(work, striped, order) for striped in (one, other) for order in (names, names[::-1])
        ]
        assert [job.result(60) for job in jobs] == [200] * 4


def test_no_step_is_lost_between_processes(tmp_path: Path) -> None:
    """What several processes do under the lock happens one after the other."""
    count = tmp_path / "count"
    count.write_text("0")
    (tmp_path / "locks").mkdir()
    processes = [
        subprocess.Popen([sys.executable, "-c", _COUNTER, tmp_path / "locks", count, "300"]) for _ in range(4)
    ]
    assert [process.wait(60) for process in processes] == [0] * 4
    assert count.read_text() == "1200"


def test_dies_with_its_holder(one: StripedLocks, holder: subprocess.Popen[str]) -> None:
    """The lock of a process that is killed with SIGKILL is the next one's at once, with nothing to clean up."""
    with ThreadPoolExecutor(1) as pool:

        def ask() -> float:
            with one.hold("a", seconds=10):
                return time.monotonic()

        waiting = pool.submit(ask)
        time.sleep(0.1)
        assert not waiting.done()
        os.kill(holder.pid, signal.SIGKILL)
        waiting.result(5)
    assert holder.wait(5) == -signal.SIGKILL


def test_stopped_holder_keeps_it(one: StripedLocks, holder: subprocess.Popen[str]) -> None:
    """A holder that stands still still holds it: the others are told instead of going ahead."""
    os.kill(holder.pid, signal.SIGSTOP)
    with pytest.raises(Unavailable), one.hold("a"):
        raise AssertionError("held twice")


def test_error_lets_go(one: StripedLocks, other: StripedLocks) -> None:
    """An error under the lock lets go of it."""
    with pytest.raises(KeyError), one.hold("a", "b"):
        raise KeyError
    with other.hold("a", "b"):
        pass


def test_try_lock(tmp_path: Path) -> None:
    """A lock that is asked for without waiting is had by one alone, and is free when its file is closed."""
    first, second = open_lock(str(tmp_path / "lock")), open_lock(str(tmp_path / "lock"))
    try:
        assert try_lock(first)
        assert not try_lock(second)
    finally:
        os.close(first)
    assert try_lock(second)
    os.close(second)


def test_locked_lets_go(tmp_path: Path) -> None:
    """The lock of an open file is held within the block and no longer."""
    first, second = open_lock(str(tmp_path / "lock")), open_lock(str(tmp_path / "lock"))
    try:
        with locked(first, time.monotonic() + 1):
            assert not try_lock(second)
        assert try_lock(second)
    finally:
        os.close(first)
        os.close(second)


def test_others_go_on_meanwhile(one: StripedLocks, other: StripedLocks) -> None:
    """Of threads that take turns, one that waits for a lock lets another go on: of a process, and of a thread."""
    threads = Threads(2, "tried", frugal=True)

    def wait_for(locks: StripedLocks) -> bool:
        with locks.hold("name", seconds=10):
            return True

    async def waiting(locks: StripedLocks) -> None:
        with one.hold("name"):
            call = asyncio.create_task(threads.run(partial(wait_for, locks)))
            await asyncio.sleep(0)
            async with asyncio.timeout(10):
                for _ in range(20):
                    await threads.run(int)
            assert not call.done()
        assert await call

    for locks in (other, one):
        asyncio.run(waiting(locks))
    threads.close()
