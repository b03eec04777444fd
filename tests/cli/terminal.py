"""A terminal of its own for a command that asks for something, and somebody who answers."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import termios
import time
from typing import TYPE_CHECKING

from tests.http.serving import WAIT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PASSWORD = "s3cret"
PROMPTS = {"Password: ": PASSWORD, "Repeat for confirmation: ": PASSWORD}

_ECHO_SECONDS = 0.5


def on_terminal(command: str, folder: Path, answers: Mapping[str, str], environ: Mapping[str, str]) -> str:
    """What a terminal shows of a command, whose prompts have their answers; fails the test where the command fails."""
    keyboard, terminal = pty.openpty()
    process = subprocess.Popen(
        ["setsid", "--ctty", "sh", "-eu", "-c", command],
        cwd=folder,
        env=environ,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    try:
        shown = _conversation(keyboard, answers)
        assert process.wait(WAIT_SECONDS) == 0, f"{command}\n{shown}"
    finally:
        process.kill()
        process.wait(WAIT_SECONDS)
        os.close(keyboard)
    return shown


def _conversation(keyboard: int, answers: Mapping[str, str]) -> str:
    """Types the answers until the other side hangs up; returns all that was shown."""
    deadline = time.monotonic() + WAIT_SECONDS
    shown = b""
    while select.select([keyboard], [], [], max(0.0, deadline - time.monotonic()))[0]:
        try:
            shown += os.read(keyboard, 4096)
        except OSError:  # how a terminal ends on Linux
            return shown.decode().replace("\r\n", "\n")
        for prompt, answer in answers.items():
            if shown.endswith(prompt.encode()):
                _await_silence(keyboard)
                os.write(keyboard, f"{answer}\n".encode())
    raise AssertionError(f"not ended within {WAIT_SECONDS} s: {shown!r}")


def _await_silence(keyboard: int) -> None:
    """Waits until nothing that is typed is shown any more: some programs prompt first and turn the echo off then.

    A question that is no secret leaves the echo on, so that this ends soon in any case.
    """
    end = time.monotonic() + _ECHO_SECONDS
    while time.monotonic() < end and termios.tcgetattr(keyboard)[3] & termios.ECHO:
        time.sleep(0.01)
