"""The real server in a process of its own, for as long as a test needs it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tests.http.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROJECT = Path(__file__).parents[2]
ECHO = "tests.http.server_cases.echo"
ASGI_ECHO = "tests.http.server_cases.asgi_echo"
WAIT_SECONDS = 30.0

T = TypeVar("T")


def until(found: Callable[[], T], seconds: float = WAIT_SECONDS) -> T:
    """The first true value of `found`; AssertionError where none comes in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = found()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"nothing came within {seconds} seconds")


class Serving:
    """A server at work: its process, address, what it wrote on stderr, and how bodies ended."""

    def __init__(self, root: Path, case: str, arguments: dict[str, Any], descriptors: int) -> None:
        self.root = root
        self._stderr = root / "stderr"
        with self._stderr.open("wb") as stderr:
            limited = ["sh", "-c", f'ulimit -n {descriptors}; exec "$@"', "sh"]
            command = [*limited, sys.executable, "-W", "error", "-m", case, str(root), json.dumps(arguments)]
            self.process = subprocess.Popen(
                command,
                stdout=stderr,
                stderr=stderr,
                stdin=subprocess.DEVNULL,
                cwd=PROJECT,
                start_new_session=True,
            )
        self.address = ""
        self._wires: list[Wire] = []

    def wait_until_ready(self) -> None:
        until(lambda: "ready " in self.stderr() or self.process.poll() is not None)
        match = re.search(r"^ready (\S+)$", self.stderr(), re.MULTILINE)
        assert match is not None, self.stderr()
        self.address = match[1]

    def stderr(self) -> str:
        return self._stderr.read_text()

    def outcomes(self) -> list[str]:
        path = self.root / "outcomes"
        return path.read_text().splitlines() if path.exists() else []

    def until_outcome(self, outcome: str) -> None:
        """Wait until there is such an outcome."""
        until(lambda: outcome in self.outcomes())

    def outcome_of_reading(self) -> str:
        """How the only body since outcomes were forgotten ended, when it has."""
        return until(lambda: self.outcomes()[1:])[0]

    def forget_outcomes(self) -> None:
        os.truncate(self.root / "outcomes", 0)

    def connect(self, **options: Any) -> Wire:
        """A new connection, closed with the server at the latest."""
        wire = Wire(self.address, **options)
        self._wires.append(wire)
        return wire

    def kill(self) -> None:
        """End every process of the server, and the connections to it."""
        for pid in reversed(self.processes()) if self.process.poll() is None else []:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
        self.process.wait(WAIT_SECONDS)
        for wire in self._wires:
            wire.socket.close()

    def processes(self) -> list[int]:
        """The server's process and its workers."""
        pid = self.process.pid
        with open(f"/proc/{pid}/task/{pid}/children") as children:
            return [pid, *map(int, children.read().split())]

    def until_no_descriptor_of(self, path: str) -> None:
        """Wait until no process of the server has the file open."""
        until(lambda: not any(path in self._open_files(pid) for pid in self.processes()))

    def _open_files(self, pid: int) -> list[str]:
        links = []
        for number in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(FileNotFoundError):  # closed since it was listed
                links.append(os.readlink(f"/proc/{pid}/fd/{number}"))
        return links

    def stop(self) -> int:
        """Send SIGTERM; the exit code."""
        self.process.terminate()
        return self.process.wait(WAIT_SECONDS)


@contextlib.contextmanager
def serving(root: Path, case: str = ECHO, *, descriptors: int = 4096, **arguments: Any) -> Iterator[Serving]:
    """Run `case` with the arguments of `serve`, ready when this gives it, and gone after.

    `descriptors` is how many each of its processes may have.
    """
    server = Serving(root, case, arguments, descriptors)
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.kill()


@contextlib.contextmanager
def full_queue(path: str) -> Iterator[None]:
    """Fill the queue of the server that listens on this Unix socket, and takes nothing from it."""
    with contextlib.ExitStack() as opened:
        with contextlib.suppress(BlockingIOError):
            while True:
                client = opened.enter_context(socket.socket(socket.AF_UNIX))
                client.setblocking(False)
                client.connect(path)
        yield
