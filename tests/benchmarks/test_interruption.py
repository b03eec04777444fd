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
    """Whoever ends the benchmarks gets the machine back as it was, at once and not after the rest of the run."""
    storage = tmp_path / "storage"
    storage.mkdir()
    command = [
        sys.executable,
        "-m",
        "benchmarks",
        "--folder",
        str(storage),
        "--results",
        str(tmp_path / "results"),
    ]
    with subprocess.Popen(
        [*command, "signed-in"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            _await(lambda: len(_servers(storage)) > 1, process)
            process.send_signal(number)
            said, _ = process.communicate(timeout=LIMIT_SECONDS)
        finally:
            process.kill()
    assert process.returncode != 0
    assert "KeyboardInterrupt" in said
    assert _servers(storage) == []
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
