import os
import signal
import subprocess
import sys
import time
from multiprocessing import get_context
from pathlib import Path
from types import FrameType
from typing import NoReturn

import pytest
from benchmarks.processes import started

LIMIT_SECONDS, WAIT_SECONDS = 10.0, 120.0
DELAYS = [step / 2_000 for step in range(1, 41)]


class InterruptionError(Exception):
    """What the handler of a signal raises."""


def interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise InterruptionError


def start_and_interrupt() -> None:
    """Start programs, each interrupted somewhat later than the one before."""
    others = children()
    signal.signal(signal.SIGALRM, interrupt)
    for delay in DELAYS:
        process = None
        try:
            signal.setitimer(signal.ITIMER_REAL, delay)
            process = started(["sleep", "60"], subprocess.DEVNULL)
            time.sleep(LIMIT_SECONDS)
        except InterruptionError:
            assert children() - others == ({process.pid} if process else set())
        finally:
            if process:
                process.kill()
                process.wait(LIMIT_SECONDS)


def test_an_interruption_leaves_no_program_that_is_being_started() -> None:
    """Whenever the signal comes, what was started is ended, or there is somebody who can end it.

    In a process without threads, as the benchmarks are: elsewhere a thread would take the signal that is held back.
    """
    process = get_context("spawn").Process(target=start_and_interrupt)
    process.start()
    process.join(WAIT_SECONDS)
    assert process.exitcode == 0


def test_a_program_that_was_started_hears_signals(tmp_path: Path) -> None:
    """It must not begin with those blocked that are held back while it is being started."""
    log = tmp_path / "log"
    program = "import signal; print(signal.pthread_sigmask(signal.SIG_BLOCK, ()))"
    with log.open("wb") as output:
        process = started([sys.executable, "-c", program], output)
    assert process.wait(LIMIT_SECONDS) == 0
    assert log.read_text().strip() == "set()"


def test_a_program_that_is_not_there_leaves_signals_as_they_were() -> None:
    """The failure to start it is told, and signals are not held back after that."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with pytest.raises(FileNotFoundError):
        started(["/missing/program"], subprocess.DEVNULL)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


def children() -> set[int]:
    return set(map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()))


FAILING = """
import sys
from benchmarks import __main__ as benchmarks


def fail(bench):
    with bench.all_running(bench.registries[:1]):
        raise RuntimeError("no answer")


benchmarks.WORKLOADS["idle"] = fail
sys.exit(benchmarks.main())
"""


def test_a_workload_that_fails_says_which_servers_were_running(tmp_path: Path) -> None:
    """Its report has the error, and whose it may be; the program ends with 1."""
    results = tmp_path / "results"
    ran = subprocess.run(
        [
            sys.executable,
            "-c",
            FAILING,
            "--quick",
            "--folder",
            str(tmp_path),
            "--results",
            str(results),
            "idle",
        ],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=WAIT_SECONDS,
    )
    assert ran.returncode == 1, ran.stdout
    (page,) = results.glob("*/README.md")
    assert "RuntimeError: no answer; cargohold was running" in page.read_text()
