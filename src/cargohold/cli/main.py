"""The command `cargohold`."""

from __future__ import annotations

import click

from cargohold import __version__
from cargohold.cli.commands import Commands

SECTIONS = {
    "Serving": ("serve", "health"),
    "Settings": ("check_config", "config"),
    "Content of a running registry": ("remote.ls", "remote.tags", "remote.inspect", "remote.rm"),
    "Storage": ("gc", "trash", "retention", "fsck", "export", "import_"),
    "Who may do what": ("htpasswd", "token", "keys", "access"),
    "About the program": ("version", "completion"),
}
"""The modules of the commands below `cargohold.cli`, by the headings that `--help` puts above them."""


@click.group(
    cls=Commands,
    sections=SECTIONS,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog='"cargohold COMMAND --help" says more about each.',
)
@click.version_option(__version__, message="cargohold %(version)s")
@click.pass_context
def main(context: click.Context) -> None:
    """A registry for container images, artifacts and charts.

    "cargohold serve" starts it on 127.0.0.1:5000, with its data in ./data.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
