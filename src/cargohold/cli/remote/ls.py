"""The command `cargohold ls`: the repositories of a registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cargohold.cli.help import epilog
from cargohold.cli.remote.options import with_registry
from cargohold.cli.remote.printing import CODES, print_names

if TYPE_CHECKING:
    from cargohold.cli.remote.options import Reach


@click.command(
    epilog=epilog(
        "cargohold ls localhost:5000",
        "cargohold ls --json https://registry.example.com",
        codes=CODES,
    )
)
@click.argument("registry")
@click.option("--json", "as_json", is_flag=True, help="Print a list in JSON.")
@with_registry
def ls(*, registry: str, as_json: bool, reach: Reach) -> None:
    """List the repositories of a running registry.

    REGISTRY is its address, with the path that it is below, where there is one. What the login may not see is not in
    the list.
    """
    address = reach.registry(registry)
    with reach.session(address) as session:
        print_names(session.repositories(), "repositories", as_json=as_json, quiet=reach.quiet)
