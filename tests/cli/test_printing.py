"""What becomes of a command whose standard output cannot be written."""

from __future__ import annotations

import fcntl
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.cli.test_command import CLEAN, SCRIPT, run
from tests.http.serving import WAIT_SECONDS, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.server import Server

CREATE = ("token", "create", "ci", "--repository", "a")
WAYS = [
    (">/dev/full", "standard output cannot be written: No space left on device"),
    ("1</dev/null", "standard output cannot be written: Bad file descriptor"),
    (">&-", "standard output is closed"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a server has been started once."""
    (tmp_path / "data/cargohold").mkdir(parents=True)
    (tmp_path / "users").write_text("ann:$2y$04$abcdefghijklmnopqrstuOJi2w5yMkG4T6U9EGWnkgrSKQmEvGyLy\n")
    return tmp_path


def typed(folder: Path, redirected: str, *words: str) -> subprocess.CompletedProcess[str]:
    """A command whose stdout the shell leads elsewhere."""
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {redirected}', "sh", SCRIPT, *words],
        cwd=folder,
        env=CLEAN,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )


def robots(folder: Path) -> str:
    ran = run(SCRIPT, "token", "list", "--storage-path", f"{folder}/data")
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout


@pytest.mark.parametrize(("redirected", "reason"), WAYS)
@pytest.mark.parametrize(
    "words",
    [
        ("version",),
        ("completion", "bash"),
        ("token", "list"),
        ("token", "list", "--json"),
        ("keys", "list"),
        ("keys", "list", "--json"),
        ("htpasswd", "list", "users"),
        ("access", "explain", "ann", "pull", "a"),
    ],
)
def test_unprinted(folder: Path, words: tuple[str, ...], redirected: str, reason: str) -> None:
    """A command that cannot print its answer says so in one line, and ends with 1."""
    ran = typed(folder, redirected, *words)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == f"cargohold: {reason}\n"


@pytest.mark.parametrize(("redirected", "reason"), WAYS)
@pytest.mark.parametrize("words", [("ls", ""), ("inspect", "/team/app", "--raw")])
def test_unprinted_answers(
    open_registry: Server, tmp_path: Path, words: tuple[str, ...], redirected: str, reason: str
) -> None:
    """So it is with what a registry has answered, in each form."""
    command, place, *options = words
    ran = typed(tmp_path, redirected, command, f"{open_registry.host}{place}", *options)
    assert (ran.returncode, ran.stdout, ran.stderr) == (1, "", f"cargohold: {reason}\n")


@pytest.mark.parametrize(("redirected", "reason"), WAYS)
def test_unprinted_secret(folder: Path, redirected: str, reason: str) -> None:
    """A robot whose secret could not be printed is revoked again, and its name is free."""
    ran = typed(folder, redirected, *CREATE)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == (f"cargohold: {reason}; the robot ci is revoked again, as nobody has its secret\n")
    assert robots(folder).count("\n") == 1
    assert typed(folder, "", *CREATE).returncode == 0


def test_unprinted_secret_that_cannot_be_revoked(folder: Path) -> None:
    """Where the robot cannot be revoked again, the command says that it is there still."""
    reader, writer = os.pipe()
    size = fcntl.fcntl(writer, fcntl.F_GETPIPE_SZ)
    os.write(writer, b"x" * size)
    process = subprocess.Popen(
        [SCRIPT, *CREATE], cwd=folder, env=CLEAN, stdout=writer, stderr=subprocess.PIPE, text=True
    )
    try:
        until(lambda: "ci" in robots(folder))
        database = folder / "data/cargohold/state.db"
        database.rename(folder / "state.db")
        database.mkdir()
        os.close(reader)
        stderr = process.communicate(timeout=WAIT_SECONDS)[1]
    finally:
        process.kill()
        process.wait(WAIT_SECONDS)
        os.close(writer)
    assert process.returncode == 1
    assert stderr.startswith(
        "cargohold: standard output cannot be written: Broken pipe; the robot ci is there and nobody has its secret; it"
        " cannot be revoked now: "
    )


@pytest.mark.parametrize(("redirected", "reason"), WAYS)
@pytest.mark.parametrize(("option", "told"), [([], "it signs from 2"), (["--now"], "it signs from now on;")])
def test_unprinted_key(folder: Path, option: list[str], told: str, redirected: str, reason: str) -> None:
    """A rotation whose key could not be printed has been made, which is said beside it."""
    ran = typed(folder, redirected, "keys", "rotate", *option)
    assert (ran.returncode, ran.stdout) == (1, "")
    first, second = ran.stderr.splitlines()
    assert first.startswith(told)
    assert second == f"cargohold: {reason}"
    listed = run(SCRIPT, "keys", "list", "--storage-path", f"{folder}/data").stdout
    assert listed.count("\n") == 2
