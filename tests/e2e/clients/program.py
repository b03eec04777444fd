"""A client's program, run with a time limit and with no configuration but the test's own."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 120


@dataclass(frozen=True)
class Client:
    """A program with the options that each of its calls begins with."""

    program: str
    options: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)

    def __call__(self, *arguments: str | Path, given: bytes = b"") -> str:
        """Runs it, feeding `given`; returns its standard output, or fails the test with all that it said."""
        return self.output(*arguments, given=given).decode().strip()

    def output(self, *arguments: str | Path, given: bytes = b"") -> bytes:
        """Like a call, with the standard output byte for byte."""
        ended = self._run(arguments, given)
        assert ended.returncode == 0, self._say(ended)
        return ended.stdout

    def refused(self, *arguments: str | Path) -> str:
        """Runs it; returns its standard error, or fails the test if it succeeds."""
        ended = self._run(arguments, b"")
        assert ended.returncode != 0, self._say(ended)
        return ended.stderr.decode()

    def _run(self, arguments: tuple[str | Path, ...], given: bytes) -> subprocess.CompletedProcess[bytes]:
        command = [self.program, *self.options, *map(str, arguments)]
        environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"} | self.environment
        return subprocess.run(
            command, input=given, capture_output=True, timeout=SECONDS, env=environment, check=False
        )

    @staticmethod
    def _say(ended: subprocess.CompletedProcess[bytes]) -> str:
        command = " ".join(map(str, ended.args))
        return f"{command}\nexit status {ended.returncode}\n{ended.stdout.decode()}\n{ended.stderr.decode()}"
