"""The command `cargohold`."""

from __future__ import annotations

import click

from cargohold import __version__
from cargohold.cli.access import access
from cargohold.cli.htpasswd import htpasswd
from cargohold.cli.keys import keys
from cargohold.cli.printing import print_line
from cargohold.cli.serve import serve
from cargohold.cli.token import token


@click.group(
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, message="cargohold %(version)s")
@click.pass_context
def main(context: click.Context) -> None:
    """A registry for container images, artifacts and charts.

    "cargohold serve" starts it on 127.0.0.1:5000, with its data in ./data.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@main.command()
def version() -> None:
    """Print the version."""
    print_line(f"cargohold {__version__}")


main.add_command(serve)
main.add_command(token)
main.add_command(keys)
main.add_command(access)
main.add_command(htpasswd)
