"""The commands `cargohold config`: what the settings are and where they come from, and files of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cargohold.cli.commands import Group
from cargohold.cli.help import epilog
from cargohold.cli.printing import print_line, print_table
from cargohold.cli.refusal import Refused
from cargohold.cli.settings_options import load_or_refuse, with_options
from cargohold.config.kinds import write_json
from cargohold.config.places import Place
from cargohold.config.settings import SETTINGS
from cargohold.types.text import printable

if TYPE_CHECKING:
    from cargohold.config.load import Effective
    from cargohold.config.settings import Setting


@click.group(cls=Group)
def config() -> None:
    """Show the settings in effect, and write files of them."""


@config.command(
    epilog=epilog(
        "cargohold config show --changed",
        "REGISTRY_PORT=5001 cargohold config show --config registry.yaml",
        codes="0, or 2 where the settings cannot be used",
    )
)
@click.option("--changed", is_flag=True, help="Only those that are not at their defaults.")
@click.option("--json", "as_json", is_flag=True, help="Print a list in JSON.")
@with_options("host", "port", "socket", "workers", "storage.path")
def show(*, changed: bool, as_json: bool, options: dict[str, object]) -> None:
    """Print every setting with its value and where that comes from: file, variable, command line or default."""
    effective = load_or_refuse(options)
    shown = [
        (setting, value, place)
        for setting, value, place in _effective(effective)
        if not changed or value != setting.value
    ]
    if as_json:
        print_line(write_json([_record(*each) for each in shown]))
        return
    print_table(
        ("SETTING", "VALUE", "FROM"),
        (
            (setting.path, printable(setting.kind.write(value)), "default" if place is None else str(place))
            for setting, value, place in shown
        ),
    )


def _effective(effective: Effective) -> list[tuple[Setting, object, Place | None]]:
    found = []
    for path, setting in SETTINGS.items():
        value: object = effective.settings
        for name in path.split("."):
            value = getattr(value, name)
        given = effective.origins.get(path)
        found.append((setting, value, None if given is None else given.place()))
    return found


def _record(setting: Setting, value: object, place: Place | None) -> dict[str, object]:
    line, column = (place and place.mark) or (None, None)
    return {
        "setting": setting.path,
        "value": setting.kind.plain(value),
        "default": setting.kind.plain(setting.value),
        "from": "default" if place is None else place.kind,
        "source": None if place is None else place.source,
        "line": line,
        "column": column,
    }


@config.command(epilog=epilog("cargohold config schema > registry.schema.json", codes="0"))
def schema() -> None:
    """Print the JSON Schema of a file of settings, by which editors complete and check it."""
    import json  # noqa: PLC0415 - for its indentation

    from cargohold.config.schema import file_schema  # noqa: PLC0415 - for this alone

    print_line(json.dumps(file_schema(), indent=2))


@config.command(epilog=epilog("cargohold config example > registry.yaml", codes="0"))
@click.option(
    "--format",
    "language",
    type=click.Choice(["yaml", "toml"]),
    default="yaml",
    show_default=True,
    help="The language of the file.",
)
def example(*, language: str) -> None:
    """Print a file with every setting commented out at its default, and with what it does."""
    from cargohold.config import writing  # noqa: PLC0415 - for this alone

    write = writing.write_yaml if language == "yaml" else writing.write_toml
    print_line(write(writing.example()).rstrip("\n"))


@config.command(
    "import",
    epilog=epilog(
        "cargohold config import /etc/distribution/config.yml > registry.yaml",
        "cargohold config import config.yml --output registry.yaml",
        codes="0, or 1 where the file is no such configuration or the output cannot be written",
    ),
)
@click.argument("file")
@click.option("--output", metavar="FILE", help="Write to a file, which must end in .yaml, instead of stdout.")
@click.option("--force", is_flag=True, help="Let --output replace a file that is there.")
def import_(*, file: str, output: str | None, force: bool) -> None:
    """Turn the configuration of a CNCF Distribution registry into settings, in YAML.

    What could not be carried over, and what means something else here, is said on stderr with its place. The variables
    by which that registry may be configured too are not looked at.
    """
    from cargohold.config.distribution import (  # noqa: PLC0415 - for this alone
        NoConfiguration,
        import_distribution,
    )
    from cargohold.config.document import Unreadable, read_document  # noqa: PLC0415 - as above
    from cargohold.config.writing import write_yaml  # noqa: PLC0415 - as above

    if output is not None and not output.lower().endswith((".yaml", ".yml")):
        raise click.UsageError(f"what is written is YAML: {output} must end in .yaml or .yml")
    try:
        document = read_document(file, "YAML")
        imported = import_distribution(document)
    except (Unreadable, NoConfiguration) as error:
        raise Refused(printable(f"{Place('file', file, error.mark)}: {error}")) from None
    for keys, mark in document.twice:
        click.echo(
            f"{Place('file', file, mark)}: {printable('.'.join(map(str, keys)))}: is given twice; the last counts",
            err=True,
        )
    for remark in imported.remarks:
        click.echo(f"{Place('file', file, remark.mark)}: {remark}", err=True)
    text = write_yaml(imported.entries)
    if output is None:
        print_line(text.rstrip("\n"))
        return
    try:
        with open(output, "w" if force else "x", encoding="utf-8") as target:
            target.write(text)
    except FileExistsError:
        raise Refused(f"{output} is there already; with --force it is replaced") from None
    except OSError as error:
        raise Refused(f"{output}: {error.strerror}") from None
