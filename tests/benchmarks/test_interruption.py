import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIMIT_SECONDS = 60.0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_no_server_and_no_folder(tmp_path: Path, number: signal.Signals) -> None:
    """Whoever ends the benchmarks and their clients, as a terminal does, gets the machine back as it was, and at once.

    What a workload makes of it that its clients ended is no reason to go on with the next.
    """
    storage = tmp_path / "storage"
    storage.mkdir()
    command = [sys.executable, "-m", "benchmarks", "--quick", "--folder", str(storage)]
    with subprocess.Popen(
        [*command, "--results", str(tmp_path / "results"), "blob-uploads", "mounts"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            _await(lambda: len(_servers(storage)) > 1, process)
            os.killpg(process.pid, number)
            said, _ = process.communicate(timeout=LIMIT_SECONDS)
            left = _servers(storage)
        finally:
            process.kill()
            for pid in _servers(storage):
                os.kill(pid, signal.SIGKILL)
    assert process.returncode != 0
    assert "KeyboardInterrupt" in said
    assert left == []
    assert list(storage.iterdir()) == []


def _await(holds: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + LIMIT_SECONDS
    while not holds():
        assert process.poll() is None, "it ended by itself"
        assert time.monotonic() < until
        time.sleep(0.05)


def _servers(storage: Path) -> list[int]:
    """The processes that were told to store there; the benchmarks themselves apart."""
    found = []
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            words = Path("/proc", name, "cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended since
        if b"benchmarks" not in words and any(os.fsencode(storage) in word for word in words):
            found.append(int(name))
    return found
