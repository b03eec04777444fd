"""The command `cargohold serve`: from the command line to a running server."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from cargohold.config import SettingsError, load
from cargohold.config.settings import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Callable

# The settings that have an option of their own, by the name of its parameter; --set reaches the others.
_OPTIONS = {path.replace(".", "_"): path for path in ("host", "port", "socket", "workers", "storage.path")}

_SETTINGS_REFUSED = 2


def _with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options, each described as its setting is."""
    for parameter, path in reversed(_OPTIONS.items()):
        setting = SETTINGS[path]
        words = setting.description.replace("`", "")
        default = f"  [default: {setting.default}]" if setting.default else ""
        option = f"--{parameter.replace('_', '-')}"
        command = click.option(
            option, parameter, metavar=path.rpartition(".")[2].upper(), help=words + default
        )(command)
    return command


def _split(_context: click.Context, _parameter: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    """Each SETTING=VALUE as a pair; the last of a setting counts."""
    for text in texts:
        if "=" not in text:
            raise click.BadParameter(
                f"write SETTING=VALUE, such as manifests.allow_sparse=true, not {text!r}"
            )
    return dict(text.split("=", 1) for text in texts)


@click.command(
    epilog="Each setting may also come from the file, or from the environment as REGISTRY_ and its path."
)
@_with_options
@click.option("--config", metavar="FILE", help="Settings in YAML, TOML or JSON.  [default: $REGISTRY_CONFIG]")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    callback=_split,
    metavar="SETTING=VALUE",
    help="Any other setting, such as manifests.allow_sparse=true; may be repeated.",
)
@click.pass_context
def serve(
    context: click.Context, /, assignments: dict[str, str], config: str | None, **given: str | None
) -> None:
    """Serve the registry until SIGTERM or Ctrl-C."""
    options: dict[str, object] = dict(assignments)
    options |= {_OPTIONS[name]: value for name, value in given.items() if value is not None}
    if config is not None:
        options["config"] = config
    try:
        settings = load(options, os.environ)
    except SettingsError as error:
        for problem in error.problems:
            click.echo(problem, err=True)
        context.exit(_SETTINGS_REFUSED)
    from cargohold import app  # noqa: PLC0415 - it brings the server in, which --help need not wait for

    context.exit(app.serve(settings))
