"""The command `cargohold version`."""

from __future__ import annotations

import click

from cargohold import __version__
from cargohold.cli.printing import print_line


@click.command()
def version() -> None:
    """Print the version."""
    print_line(f"cargohold {__version__}")
