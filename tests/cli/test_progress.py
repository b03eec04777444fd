"""Bars on a terminal for what takes long, and nothing elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.cli.terminal import on_terminal
from tests.cli.test_command import CLEAN

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import sys, time
from cargohold.cli import progress
from cargohold.cli.printing import print_line
progress._PATIENCE_SECONDS = float(sys.argv[1])
with progress.progress("manifests", int(sys.argv[2]) or None, quiet=sys.argv[3] == "quiet") as advance:
    for _ in range(3):
        advance(2)
print_line("done")
print("rich" in sys.modules, file=sys.stderr)
"""


def typed(tmp_path: Path, *words: str) -> str:
    """What a terminal shows of a command."""
    (tmp_path / "program.py").write_text(PROGRAM)
    line = " ".join([sys.executable, "-W", "error", "program.py", *words])
    return on_terminal(line, tmp_path, {}, CLEAN | {"TERM": "xterm", "COLUMNS": "80"})


def test_bar(tmp_path: Path) -> None:
    """On a terminal a bar says what is done and how much of it, and is gone afterwards."""
    shown = typed(tmp_path, "0", "6", "loud")
    assert re.search(r"manifests .*6/6", shown)
    assert shown.endswith("done\nTrue\n")
    assert "\x1b[2K" in shown


def test_unknown_total(tmp_path: Path) -> None:
    """Where nobody knows how many there are, what was done is counted."""
    assert re.search(r"manifests .*6/\?", typed(tmp_path, "0", "0", "loud"))


@pytest.mark.parametrize("words", [["60", "6", "loud"], ["0", "6", "quiet"]])
def test_nothing_on_a_terminal(tmp_path: Path, words: list[str]) -> None:
    """What is quick shows no bar and does not wait for the library; nor does what is to be quiet."""
    assert typed(tmp_path, *words) == "done\nFalse\n"


def test_nothing_elsewhere() -> None:
    """Where stderr is no terminal there is no bar, nor where it is closed."""
    arguments = [sys.executable, "-W", "error", "-c", PROGRAM, "0", "6", "loud"]
    ran = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=True, env=CLEAN)
    assert (ran.stdout, ran.stderr) == ("done\n", "False\n")
    closed = subprocess.run(
        ["sh", "-c", 'exec "$@" 2>&-', "sh", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=True,
    )
    assert closed.stdout == "done\nFalse\n"
