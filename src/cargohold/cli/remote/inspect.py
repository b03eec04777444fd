"""The command `cargohold inspect`: what an image is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cargohold.cli.help import epilog
from cargohold.cli.printing import in_json, print_bytes, print_line
from cargohold.cli.remote.options import with_place
from cargohold.cli.remote.printing import CODES, written_size
from cargohold.types.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cargohold.cli.remote.inspection import Inspection
    from cargohold.cli.remote.options import Reach

_DEFAULT_TAG = "latest"
_WIDTH = 13


@click.command(
    epilog=epilog(
        "cargohold inspect localhost:5000/team/app:1.0",
        "cargohold inspect --json registry.example.com/team/app",
        "cargohold inspect --raw localhost:5000/team/app:1.0 | sha256sum",
        codes=CODES,
    )
)
@click.argument("image")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@click.option("--raw", is_flag=True, help="Print the manifest as it is, byte for byte.")
@with_place
def inspect(*, image: str, as_json: bool, raw: bool, reach: Reach) -> None:
    """Show what an image of a running registry is.

    IMAGE begins with the address of the registry, and ends with a tag or a digest; without either it is the tag
    "latest". Its digest, type, layers, platforms, config, annotations and referrers are told. No layer is downloaded.
    """
    if raw and as_json:
        raise click.UsageError("--raw is the manifest alone: leave out --json")
    place = reach.place(image)
    with reach.session(place.address, place.repository) as session:
        found = session.manifest(place.repository, place.reference or _DEFAULT_TAG)
        if raw:
            print_bytes(found.content)
            return
        from cargohold.cli.remote.inspection import inspect_manifest  # noqa: PLC0415 - --help need not wait for it

        inspection = inspect_manifest(session, str(place), place.repository, found, quiet=reach.quiet)
    if as_json:
        print_line(in_json(inspection))
    else:
        print_line("\n".join(_lines(inspection)))


def _lines(inspection: Inspection) -> Iterator[str]:
    """For people: a name before the first of its lines."""
    for name, lines in _facts(inspection):
        for line in lines:
            yield f"{name:<{_WIDTH}}{printable(line)}".rstrip()
            name = ""  # noqa: PLW2901 - said once


def _facts(found: Inspection) -> Iterator[tuple[str, list[str]]]:
    yield "image", [found.image]
    yield "digest", [found.digest]
    yield "type", [found.media_type, *filter(None, [found.artifact_type])]
    yield "size", [f"{written_size(found.size)} of layers"]
    if found.config is not None:
        config = found.config
        yield "platform", _given(config.platform)
        yield "created", _given(config.created)
        yield "user", _given(config.user)
        yield "entrypoint", _given(config.entrypoint and in_json(config.entrypoint))
        yield "command", _given(config.cmd and in_json(config.cmd))
        yield "directory", _given(config.working_dir)
        yield "ports", _given(" ".join(config.exposed_ports))
        yield "labels", _pairs(config.labels)
    yield "layers", [f"{each.digest}  {written_size(each.size)}" for each in found.layers]
    yield (
        "manifests",
        [
            "  ".join(
                filter(
                    None,
                    [
                        part.digest,
                        part.platform or part.media_type,
                        "" if part.size is None else written_size(part.size),
                    ],
                )
            )
            for part in found.manifests
        ],
    )
    yield "annotations", _pairs(found.annotations)
    yield "subject", _given(found.subject)
    yield (
        "referrers",
        [
            *(f"{each.digest}  {each.artifact_type or each.media_type}" for each in found.referrers),
            *(["and more"] if found.more_referrers else []),
        ],
    )


def _given(text: str | list[str] | None) -> list[str]:
    return [text] if isinstance(text, str) and text else []


def _pairs(mapping: Mapping[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in sorted(mapping.items())]
