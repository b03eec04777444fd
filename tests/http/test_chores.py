"""What a server does beside its workers: when it is due, and that whatever becomes of it, they do not feel it."""

from __future__ import annotations

import math
import os
import re
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cargohold.http.chores import Chore, Errand
from tests.http.serving import serving, until
from tests.http.test_server_stop import is_gone

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.http.serving import Serving

BUSY = "tests.http.server_cases.busy_echo"
ONE_AND_TWO = pytest.mark.parametrize("workers", [1, 2])


class Clock:
    """A wall clock that can be set, and one that cannot."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.passed = 1000.0, 5.0
        monkeypatch.setattr(time, "time", lambda: self.now)
        monkeypatch.setattr(time, "monotonic", lambda: self.passed)

    def go(self, seconds: float) -> None:
        self.now += seconds
        self.passed += seconds


def told(root: Path, what: str) -> list[int]:
    """The processes in which the chore has come so far."""
    file = root / "chores"
    return (
        [int(pid) for pid in re.findall(rf"^{what} (\d+)$", file.read_text(), re.MULTILINE)]
        if file.exists()
        else []
    )


def begun(root: Path) -> int:
    """The process of the chore, as soon as it has begun."""
    return until(lambda: told(root, "begun"))[-1]


def check_serves(server: Serving) -> None:
    """Each of ten connections is answered."""
    for _ in range(10):
        with server.connect() as wire:
            assert wire.ask("GET", "/v2/").status == 200


def never(_look_at: Callable[[float], None], _is_closing: Callable[[], bool]) -> None:
    raise AssertionError("it is not to be done here")


def test_when_it_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chore is due at its time, not while it is done, and again at the time that its process has told."""
    clock = Clock(monkeypatch)
    errand = Errand(Chore("sweeper", 1010.0, lambda look_at, _: look_at(2000.0)))
    assert (errand.pause(), errand.is_due()) == (10.0, False)
    clock.go(10)
    assert (errand.pause(), errand.is_due()) == (0.0, True)

    def fork(name: str, run: Callable[[], int]) -> int:
        assert name == "sweeper"
        pid = os.fork()
        if pid == 0:
            os._exit(run())
        return pid

    errand.begin(fork)
    assert errand.pid is not None
    assert (errand.pause(), errand.is_due()) == (math.inf, False)
    assert os.waitpid(errand.pid, 0)[1] == 0
    errand.bury(0, is_stopping=False)
    assert (errand.pause(), errand.is_due()) == (990.0, False)


def test_a_process_that_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a process ends before it could tell the next time, the chore is tried again after a while, not at once."""
    clock = Clock(monkeypatch)
    errand = Errand(Chore("sweeper", 0.0, never))
    errand.begin(lambda _name, _run: 7)
    errand.bury(-9, is_stopping=False)
    assert not errand.is_due()
    clock.go(errand.pause())
    assert errand.is_due()


@pytest.mark.parametrize("jump", [-(10**9), -3600, 3600, 10**9])
def test_a_clock_that_jumps(monkeypatch: pytest.MonkeyPatch, jump: float) -> None:
    """When the clock is set, or the machine has slept, it is looked again when the chore is due, once."""
    clock = Clock(monkeypatch)
    errand = Errand(Chore("sweeper", 5000.0, never))
    clock.go(60)
    assert not errand.is_due()
    clock.now += jump
    assert errand.is_due()
    errand.begin(lambda _name, _run: 7)
    errand._tell(clock.now + 100)
    errand.bury(0, is_stopping=False)
    assert not errand.is_due()


@ONE_AND_TWO
def test_again_and_again(tmp_path: Path, workers: int) -> None:
    """It is done in a new process each time, one after the other, beside as many workers as are asked for."""
    (tmp_path / "chore").write_text("again")
    with serving(tmp_path, BUSY, workers=workers) as server:
        until(lambda: len(told(tmp_path, "ended")) >= 5)
        check_serves(server)
        assert server.outcomes() == ["started"] * workers
        assert server.stop() == 0
        lines = [line.split() for line in (tmp_path / "chores").read_text().splitlines()]
        assert [word for word, _ in lines] == ["begun", "ended"] * (len(lines) // 2)
        assert len({pid for _, pid in lines}) == len(lines) // 2
        assert server.stderr() == f"ready {server.address}\n"


def test_how_the_process_stands(tmp_path: Path) -> None:
    """Its process has a name, is what the kernel ends first, and holds no socket of the server."""
    (tmp_path / "chore").write_text("wait")
    with serving(tmp_path, BUSY, workers=2) as server:
        pid = begun(tmp_path)
        assert pid not in server.processes()[:1]
        proc = Path(f"/proc/{pid}")
        assert (proc / "comm").read_text() == "sweeper\n"
        assert (proc / "oom_score_adj").read_text() == "500\n"
        assert not [link for link in (proc / "fd").iterdir() if os.readlink(link).startswith("socket:")]


@ONE_AND_TWO
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_process_that_is_killed(tmp_path: Path, workers: int, number: signal.Signals) -> None:
    """When it is killed that is logged, the next one comes, and requests go on; one that is told to end does so."""
    (tmp_path / "chore").write_text("wait")
    with serving(tmp_path, BUSY, workers=workers) as server:
        pid = begun(tmp_path)
        slow = server.connect()
        slow.request("GET", "/sleep?seconds=0.5")
        server.until_outcome("sleeping")
        os.kill(pid, number)
        until(lambda: len(told(tmp_path, "begun")) == 2)
        assert is_gone(pid)
        assert slow.response().status == 204
        check_serves(server)
        said = f"the sweeper (process {pid}) ended with signal {number:d} before it was done"
        assert server.stderr().count(said) == (number != signal.SIGTERM)
        assert told(tmp_path, "ended") == ([pid] if number == signal.SIGTERM else [])
        assert server.outcomes().count("started") == workers


def test_a_process_that_fails(tmp_path: Path) -> None:
    """What it raises is logged, and that is all."""
    (tmp_path / "chore").write_text("fail")
    with serving(tmp_path, BUSY, workers=2) as server:
        until(lambda: len(told(tmp_path, "begun")) >= 3)
        check_serves(server)
        assert server.outcomes() == ["started"] * 2
        assert server.stop() == 0
        assert "RuntimeError: it cannot be done" in server.stderr()
        assert "ended with exit code 1 before it was done" in server.stderr()


@ONE_AND_TWO
def test_a_stop_ends_it(tmp_path: Path, workers: int) -> None:
    """At a stop it is told to end and comes to its end, while requests come to theirs; exit 0, and no word of it."""
    (tmp_path / "chore").write_text("wait")
    with serving(tmp_path, BUSY, workers=workers) as server:
        pid = begun(tmp_path)
        slow = server.connect()
        slow.request("GET", "/sleep?seconds=0.5")
        server.until_outcome("sleeping")
        assert server.stop() == 0
        assert slow.response().status == 204
        assert told(tmp_path, "ended") == [pid]
        assert server.stderr() == f"ready {server.address}\n"


def test_a_stop_does_not_wait_for_ever(tmp_path: Path) -> None:
    """One that does not heed the signal is killed when the time limit of the stop is over; exit 0."""
    (tmp_path / "chore").write_text("deaf")
    with serving(tmp_path, BUSY, workers=2, stop_timeout=0.2) as server:
        pid = begun(tmp_path)
        assert server.stop() == 0
        assert is_gone(pid)


def test_it_does_not_outlive_the_server(tmp_path: Path) -> None:
    """When the supervisor is killed it ends by itself, as the workers do, and keeps none of them alive."""
    (tmp_path / "chore").write_text("wait")
    with serving(tmp_path, BUSY, workers=2) as server:
        processes = [*server.processes(), begun(tmp_path)]
        server.process.kill()
        until(lambda: all(is_gone(pid) for pid in processes))
        assert told(tmp_path, "ended") == [processes[-1]]


def test_signals_to_the_whole_group(tmp_path: Path) -> None:
    """Ctrl-C in a terminal reaches it too: it is one stop, and it comes to its end."""
    (tmp_path / "chore").write_text("wait")
    with serving(tmp_path, BUSY, workers=2) as server:
        pid = begun(tmp_path)
        os.killpg(server.process.pid, signal.SIGINT)
        assert server.process.wait(30) == 0
        assert told(tmp_path, "ended") == [pid]
        assert server.stderr() == f"ready {server.address}\n"


def test_none_is_begun_while_the_server_stops(tmp_path: Path) -> None:
    """Once the server has been told to stop no new process is begun, however long requests take."""
    (tmp_path / "chore").write_text("again")
    with serving(tmp_path, BUSY, workers=2) as server:
        begun(tmp_path)
        slow = server.connect()
        slow.request("GET", "/sleep?seconds=1")
        server.until_outcome("sleeping")
        server.process.terminate()
        until(lambda: "left" in server.outcomes())
        before = len(told(tmp_path, "begun"))
        time.sleep(0.3)
        assert len(told(tmp_path, "begun")) == before
        assert server.process.wait(30) == 0
