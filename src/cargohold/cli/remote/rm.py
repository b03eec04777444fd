"""The command `cargohold rm`: images, out of a registry."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from cargohold.cli.help import epilog
from cargohold.cli.printing import Unprinted, print_line
from cargohold.cli.refusal import Refused
from cargohold.cli.remote.options import with_place
from cargohold.cli.remote.printing import CODES

if TYPE_CHECKING:
    from cargohold.cli.remote.address import Place
    from cargohold.cli.remote.options import Reach
    from cargohold.cli.remote.removal import Removal


@click.command(
    epilog=epilog(
        "cargohold rm localhost:5000/team/app:1.0",
        "cargohold rm --manifest --yes localhost:5000/team/app:1.0 localhost:5000/team/app:1.1",
        codes=f"{CODES}, or nobody is there to confirm",
    )
)
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option(
    "--manifest",
    "whole",
    is_flag=True,
    help="Remove the manifest that a tag points to, with all of its tags.",
)
@click.option("--yes", is_flag=True, help="Do not ask whether it is meant.")
@with_place
@click.pass_context
def rm(context: click.Context, /, images: tuple[str, ...], *, whole: bool, yes: bool, reach: Reach) -> None:
    """Remove images from a running registry.

    IMAGE begins with the address of the registry. Where it ends with a tag, that tag alone goes, if the registry
    allows that; where it ends with a digest, the manifest and all the tags that point to it. What will go is told
    before, and what has gone afterwards. The layers stay until the registry collects its garbage.
    """
    places = [_named(reach.place(image)) for image in images]
    if not yes and not (sys.stdin is not None and sys.stdin.isatty()):
        raise click.UsageError("there is no terminal to ask whether it is meant; use --yes")
    from cargohold.cli.remote.removal import plan  # noqa: PLC0415 - it brings in what --help need not wait for

    with ExitStack() as opened:
        removals = plan(
            places,
            lambda place: opened.enter_context(reach.session(place.address, place.repository)),
            manifests=whole,
            quiet=reach.quiet,
        )
        for removal in removals:
            click.echo(f"to be removed: {removal}", err=True)
        if not yes:
            click.confirm("Remove this?" if len(removals) == 1 else "Remove these?", err=True, abort=True)
        done = [_remove(removal, quiet=reach.quiet) for removal in removals]
    context.exit(0 if all(done) else 1)


def _named(place: Place) -> Place:
    """Raises click.UsageError where it is not said what of a repository is meant."""
    if (place.tag is None) == (place.digest is None):
        raise click.UsageError(f"{place}: end it with a tag, or with a digest")
    return place


def _remove(removal: Removal, *, quiet: bool) -> bool:
    """Whether it was removed, which could be told; says so, or why not."""
    try:
        removal.carry_out(quiet=quiet)
    except Refused as error:
        error.show()
        return False
    try:
        print_line(f"removed {removal}")
    except Unprinted as error:
        click.echo(f"removed {removal}", err=True)
        error.show()
        return False
    return True
