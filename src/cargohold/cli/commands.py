"""The commands of the program: found by their names, imported when they are asked for, and told in sections."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PACKAGE = "cargohold.cli"
_LONGEST_SUMMARY = 200


class Commands(click.Group):
    """A group whose commands are named by their modules below `cargohold.cli`, in sections with a heading each.

    The command of the module `remote.ls` is what that calls `ls`; an underscore in the name is typed as a dash. Only
    what is typed is imported, so that each command starts as quickly as it can.
    """

    def __init__(self, *, sections: Mapping[str, Sequence[str]], **given: Any) -> None:  # noqa: ANN401 - click's own
        super().__init__(**given)
        self.sections = sections

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The names, in the order in which help tells them."""
        return [_name(module) for modules in self.sections.values() for module in modules]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as above
        """The command of a name; None where there is none."""
        for modules in self.sections.values():
            for module in modules:
                if _name(module) == cmd_name:
                    return _command(module)
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """What the first word names. Raises click.NoSuchCommand, with the names that are near it."""
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:
            raise click.NoSuchCommand(
                error.command_name, possibilities=self.list_commands(ctx), ctx=ctx
            ) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """A section of the help for each of the commands."""
        width = max(map(len, self.list_commands(ctx)))
        for heading, modules in self.sections.items():
            with formatter.section(heading):
                formatter.write_dl(
                    [
                        (_name(module).ljust(width), _command(module).get_short_help_str(_LONGEST_SUMMARY))
                        for module in modules
                    ]
                )


def _name(module: str) -> str:
    return module.rpartition(".")[2].replace("_", "-")


def _command(module: str) -> click.Command:
    command: click.Command = getattr(import_module(f"{_PACKAGE}.{module}"), module.rpartition(".")[2])
    return command
