"""The commands of the program: found by their names, imported when they are asked for, and told in sections."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PACKAGE = "cargohold.cli"
_LONGEST_SUMMARY = 200


class Group(click.Group):
    """A group whose help says of each command a whole sentence, where click would cut it off."""

    def sections(self, ctx: click.Context) -> Mapping[str, Sequence[str]]:
        """The names of the commands by the headings above them."""
        return {"Commands": self.list_commands(ctx)}

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """A section of the help for each of the headings."""
        width = max(map(len, self.list_commands(ctx)))
        for heading, names in self.sections(ctx).items():
            found = [(name, self.get_command(ctx, name)) for name in names]
            with formatter.section(heading):
                formatter.write_dl(
                    [
                        (name.ljust(width), command.get_short_help_str(_LONGEST_SUMMARY))
                        for name, command in found
                        if command is not None
                    ]
                )


class Commands(Group):
    """A group whose commands are named by their modules below `cargohold.cli`, in sections with a heading each.

    The command of the module `remote.ls` is what that calls `ls`; an underscore in the name is typed as a dash, and one
    at its end, after a word of Python's own, not at all. Only what is typed is imported, so that each command starts
    as quickly as it can.
    """

    def __init__(self, *, sections: Mapping[str, Sequence[str]], **given: Any) -> None:  # noqa: ANN401 - click's own
        super().__init__(**given)
        self._modules = sections

    def sections(self, ctx: click.Context) -> Mapping[str, Sequence[str]]:  # noqa: ARG002 - as its base has it
        """As they were given."""
        return {heading: [_name(module) for module in modules] for heading, modules in self._modules.items()}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order in which help tells them."""
        return [name for names in self.sections(ctx).values() for name in names]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's own
        """The command of a name; None where there is none."""
        for modules in self._modules.values():
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


def _name(module: str) -> str:
    return module.rpartition(".")[2].rstrip("_").replace("_", "-")


def _command(module: str) -> click.Command:
    command: click.Command = getattr(import_module(f"{_PACKAGE}.{module}"), module.rpartition(".")[2])
    return command
