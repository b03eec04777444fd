"""The options by which commands take settings: `--config`, `--set`, and one for each setting that a command names."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING

import click

from cargohold.config import SettingsError
from cargohold.config.load import load_effective
from cargohold.config.settings import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cargohold.config.load import Effective

    Command = Callable[..., None]

SETTINGS_REFUSED = 2
"""The exit code of a command whose settings cannot be used."""


def with_options(*paths: str) -> Callable[[Command], Command]:
    """Give a command the options, each described as its setting is; its function is called with `options`.

    Those are what `cargohold.config.load` takes. Options of the command's own stand above this decorator, and come
    after these in its help.
    """
    named = {path.replace(".", "_"): path for path in paths}

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def collected(
            *arguments: object, assignments: dict[str, str], config: str | None, **given: object
        ) -> None:
            options: dict[str, object] = dict(assignments)
            options |= {path: value for name, path in named.items() if (value := given.pop(name)) is not None}
            if config is not None:
                options["config"] = config
            command(*arguments, options=options, **given)

        return _described(collected, named)

    return decorate


def with_settings(*paths: str) -> Callable[[Command], Command]:
    """As `with_options`, with the `settings` that they give.

    Settings that cannot be used end the command with SETTINGS_REFUSED, and a line for each problem on stderr.
    """

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def loaded(*arguments: object, options: dict[str, object], **given: object) -> None:
            command(*arguments, settings=load_or_refuse(options).settings, **given)

        return with_options(*paths)(loaded)

    return decorate


def refuse(problems: Iterable[object]) -> click.exceptions.Exit:
    """Say on stderr what is wrong with the settings, a line for each problem; raise the result to end the command."""
    for problem in problems:
        click.echo(str(problem), err=True)
    return click.exceptions.Exit(SETTINGS_REFUSED)


def load_or_refuse(options: dict[str, object]) -> Effective:
    """The settings, with what gave each; ends the command as `with_settings` does."""
    try:
        return load_effective(options, os.environ)
    except SettingsError as error:
        raise refuse(error.problems) from None


def _described(command: Command, named: dict[str, str]) -> Command:
    command = click.option(
        "--set",
        "assignments",
        multiple=True,
        callback=_split,
        shell_complete=_complete,
        metavar="SETTING=VALUE",
        help="Any setting, such as manifests.allow_sparse=true; may be repeated.",
    )(command)
    command = click.option(
        "--config",
        type=click.Path(),
        metavar="FILE",
        help="Settings in YAML, TOML or JSON.  [default: $REGISTRY_CONFIG]",
    )(command)
    for parameter, path in reversed(named.items()):
        setting = SETTINGS[path]
        words = setting.description.replace("`", "")
        default = f"  [default: {setting.default}]" if setting.default else ""
        command = click.option(
            f"--{parameter.replace('_', '-')}",
            parameter,
            metavar=path.rpartition(".")[2].upper(),
            help=words + default,
        )(command)
    return command


def _complete(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """The names of settings that begin so."""
    return [f"{path}=" for path in SETTINGS if path.startswith(incomplete)]


def _split(_context: click.Context, _parameter: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    """Each SETTING=VALUE as a pair; the last of a setting counts."""
    for text in texts:
        if "=" not in text:
            raise click.BadParameter(
                f"write SETTING=VALUE, such as manifests.allow_sparse=true, not {text!r}"
            )
    return dict(text.split("=", 1) for text in texts)
