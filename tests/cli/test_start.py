"""The first moments of the program: signals that come early, and descriptors that are closed."""

from __future__ import annotations

import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.cli.test_command import CLEAN, SCRIPT

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 30


@pytest.mark.parametrize("pause", [0.08, 0.12, 0.16, 0.2, 0.3])
def test_early_stop(pause: float, tmp_path: Path) -> None:
    """A SIGTERM while the server starts ends it with 0, whatever it was doing."""
    with subprocess.Popen(
        [SCRIPT, "serve", "--port", "0", "--storage-path", str(tmp_path / "data")],
        env=CLEAN,
        stderr=subprocess.DEVNULL,
    ) as server:
        # Before that nobody hears: the interpreter itself has not begun.
        deadline = time.monotonic() + SECONDS
        while not _takes_sigterm(server.pid):
            assert time.monotonic() < deadline
            assert server.poll() is None
        time.sleep(pause)
        server.send_signal(signal.SIGTERM)
        assert server.wait(SECONDS) == 0


def _takes_sigterm(pid: int) -> bool:
    with open(f"/proc/{pid}/status") as status:
        (caught,) = (int(line.split()[1], 16) for line in status if line.startswith("SigCgt:"))
    return bool(caught >> (signal.SIGTERM - 1) & 1)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "<&- >&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_closed_descriptors(closed: str, workers: str, tmp_path: Path) -> None:
    """The server starts, answers and stops where its standard input, output or error is closed."""
    socket = tmp_path / "socket"
    line = f"exec {SCRIPT} serve --socket {socket} --workers {workers} --storage-path {tmp_path / 'data'}"
    with subprocess.Popen(["sh", "-c", f"{line} {closed}"], env=CLEAN) as server:
        health = [SCRIPT, "health", "--set", f"socket={socket}"]
        deadline = time.monotonic() + SECONDS
        while subprocess.run(health, env=CLEAN, capture_output=True, timeout=SECONDS, check=False).returncode:
            assert time.monotonic() < deadline
            assert server.poll() is None
        server.send_signal(signal.SIGTERM)
        assert server.wait(SECONDS) == 0
