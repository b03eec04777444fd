"""The list of docs/commands.md, made from the commands. `python -m tests.cli.commands_page` writes it anew."""

from __future__ import annotations

import inspect
import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cargohold.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"
HEADING = "## All commands\n"
_MARKUP = re.compile(r"([*_<\[])")


def commands(group: click.Group = main, *names: str) -> Iterator[tuple[str, click.Command]]:
    """Every command that can be typed, with the words that it is typed as, in the order of the help."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, *names, name)
        else:
            yield " ".join((*names, name)), command


def page(current: str) -> str:
    """The page with the list as its end."""
    before, _, _ = current.partition(HEADING)
    return f"{before}{HEADING}{''.join(_section(*each) for each in commands())}"


def _section(name: str, command: click.Command) -> str:
    context = click.Context(command, info_name=f"cargohold {name}")
    usage = " ".join([f"cargohold {name}", *command.collect_usage_pieces(context)])
    examples, codes = _ending(command)
    parts = [
        f"\n### cargohold {name}\n",
        f"```text\n{usage}\n```\n",
        f"{_prose(inspect.cleandoc(command.help or ''))}\n",
        "".join(_option(record) for record in _records(command, context)),
        f"```text\n{examples}\n```\n",
        f"{_prose(codes)}\n",
    ]
    return "\n".join(part for part in parts if part)


def _records(command: click.Command, context: click.Context) -> list[tuple[str, str]]:
    options = (parameter for parameter in command.params if isinstance(parameter, click.Option))
    return [record for option in options if (record := option.get_help_record(context)) is not None]


def _option(record: tuple[str, str]) -> str:
    name, words = record
    return f"- `{name}`: {_prose(words)}\n"


def _ending(command: click.Command) -> tuple[str, str]:
    """The examples, and what the exit codes mean."""
    _, _, rest = (command.epilog or "").partition(":\n")
    examples, _, codes = rest.partition("\n\n")
    return textwrap.dedent(examples), codes


def _prose(text: str) -> str:
    """Help as Markdown: what would be markup there is none."""
    return _MARKUP.sub(r"\\\1", text)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
