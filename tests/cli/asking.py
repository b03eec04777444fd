"""Commands that ask a registry, in this process and with no logins but those that a test stores."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import bcrypt
from click.testing import CliRunner

from cargohold.cli.main import main
from tests.cli.test_command import CLEAN

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

STORES = ("REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME")
USER, PASSWORD = "ann", "s3cret"


def ask(home: Path, *words: object, typed: str | None = None, **environ: str) -> Result:
    """What comes of a command; `home` is that of its user, and `typed` its standard input."""
    gone = dict.fromkeys([*(os.environ.keys() - CLEAN.keys()), *STORES])
    runner = CliRunner(env={**gone, "HOME": str(home), **environ})
    return runner.invoke(main, [str(word) for word in words], input=typed)


def done(home: Path, *words: object, typed: str | None = None, **environ: str) -> str:
    """What a command prints; fails the test where the command does."""
    result = ask(home, *words, typed=typed, **environ)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(home: Path, *words: object, typed: str | None = None, **environ: str) -> str:
    """What a command says that ends with 1, in one line of its own; fails the test where it ends otherwise."""
    result = ask(home, *words, typed=typed, **environ)
    assert (result.exit_code, result.stdout) == (1, ""), result.output
    assert result.stderr.startswith("cargohold: ")
    assert result.stderr.count("\n") == 1
    return result.stderr.removeprefix("cargohold: ").rstrip()


def write_users(path: Path) -> Path:
    """A file of users with the one."""
    path.write_text(f"{USER}:{bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()}\n")
    return path
