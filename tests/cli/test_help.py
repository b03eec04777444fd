"""What each command says of itself."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from cargohold.cli.main import SECTIONS, main
from tests.cli.commands_page import commands
from tests.cli.test_command import CLEAN

SECONDS = 60
HEAVY = {"granian", "httpx2", "rich", "cryptography", "bcrypt", "limits", "joserfc", "sqlite3", "http.client"}


COMMANDS = dict(commands())


@pytest.fixture(params=list(COMMANDS))
def name(request: pytest.FixtureRequest) -> str:
    typed: str = request.param
    return typed


def shown(*words: str) -> str:
    result = CliRunner().invoke(main, [*words, "--help"], prog_name="cargohold")
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def test_sections() -> None:
    """The help of the program has every command under the heading of its section, with a sentence that is whole."""
    text = shown()
    places = [text.index(f"\n{heading}:\n") for heading in SECTIONS]
    assert places == sorted(places)
    for module in (module for modules in SECTIONS.values() for module in modules):
        typed = module.rpartition(".")[2].rstrip("_").replace("_", "-")
        assert re.search(rf"^  {typed} +[A-Z](?:(?!\.\.\.)[^\0])*?\.$", text, re.MULTILINE), typed


@pytest.mark.parametrize("group", ["access", "config", "htpasswd", "keys", "token"])
def test_groups(group: str) -> None:
    """The help of a group has a whole sentence for each of its commands."""
    listed = re.findall(r"^  ([a-z]+) +[A-Z](?:(?!\.\.\.)[^\0])*?\.$", shown(group), re.MULTILINE)
    assert listed == [name.partition(" ")[2] for name in COMMANDS if name.startswith(f"{group} ")]


def test_help(name: str) -> None:
    """The help of a command says in a sentence what it does, what each option means, and how it ends."""
    text = shown(*name.split())
    assert re.match(rf"Usage: cargohold {name}\b[^\0]*?\n\n  [A-Z][^\0]*?\.\n", text)
    assert re.search(r"^  Exit code: 0", text, re.MULTILINE)
    assert "`" not in text
    for parameter in COMMANDS[name].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name
            assert re.match(r"[A-Z0-9]", parameter.help), parameter.help


def test_examples(name: str) -> None:
    """The examples of a command are of that command, and are understood: none has an option that is not there."""
    command = COMMANDS[name]
    lines = re.findall(r"^    (.*cargohold .*)$", shown(*name.split()), re.MULTILINE)
    assert lines
    for line in lines:
        words = shlex.split(re.sub(r'^eval "\$\((.*)\)"$', r"\1", line).partition(" | ")[0])
        words = words[words.index("cargohold") + 1 :]
        words = words[: min((words.index(mark) for mark in "<>" if mark in words), default=None)]
        assert words[: name.count(" ") + 1] == name.split(), line
        context = command.make_context(name, words[name.count(" ") + 1 :], resilient_parsing=True)
        required = [
            each.name for each in command.params if each.required and not context.params.get(str(each.name))
        ]
        assert required == [], line


def test_quick() -> None:
    """Help waits for none of the libraries that only some commands need, and a command for no other command."""
    for words, unwanted in (
        (["--help"], HEAVY),
        (["version"], HEAVY | {"cargohold.config", "cargohold.cli.serve"}),
    ):
        typed = f"main({words!r}, standalone_mode=False)"
        program = f"import sys; from cargohold.cli.main import main; {typed}; print(*sys.modules)"
        ran = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=True,
            env=CLEAN,
        )
        assert unwanted.isdisjoint(ran.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (["tokne"], "token"),
        (["inspekt"], "inspect"),
        (["chek-config"], "check-config"),
        (["token", "lst"], "list"),
    ],
)
def test_near(words: list[str], near: str) -> None:
    """A command that is misspelt is answered with the one that is near, and 2."""
    result = CliRunner().invoke(main, words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert re.search(rf"No such command '{words[-1]}'. \(?Did you mean[^?]*'{near}'", result.stderr)
