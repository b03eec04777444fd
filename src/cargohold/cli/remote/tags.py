"""The command `cargohold tags`: the tags of a repository."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cargohold.cli.help import epilog
from cargohold.cli.remote.options import with_place
from cargohold.cli.remote.printing import CODES, print_names

if TYPE_CHECKING:
    from cargohold.cli.remote.options import Reach


@click.command(
    epilog=epilog(
        "cargohold tags localhost:5000/team/app",
        "cargohold tags --json --user ann registry.example.com/team/app",
        codes=CODES,
    )
)
@click.argument("repository")
@click.option("--json", "as_json", is_flag=True, help="Print a list in JSON.")
@with_place
def tags(*, repository: str, as_json: bool, reach: Reach) -> None:
    """List the tags of a repository of a running registry.

    REPOSITORY begins with the address of the registry.
    """
    place = reach.place(repository)
    if place.reference is not None:
        raise click.UsageError(
            f"{repository!r} names an image: leave out its {'digest' if place.digest else 'tag'}"
        )
    with reach.session(place.address, place.repository) as session:
        print_names(session.tags(place.repository), "tags", as_json=as_json, quiet=reach.quiet)
