"""The command `cargohold serve`: from the command line to a running server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cargohold.cli.help import epilog
from cargohold.cli.settings_options import with_settings

if TYPE_CHECKING:
    from cargohold.config import Settings


@click.command(
    epilog=epilog(
        "cargohold serve",
        "cargohold serve --port 5001 --storage-path /srv/registry --set auth.htpasswd=users",
        "cargohold serve --config registry.yaml",
        codes="0 after a signal, 1 where it cannot start or go on, 2 where the settings cannot be used",
    )
)
@with_settings("host", "port", "socket", "workers", "storage.path")
@click.pass_context
def serve(context: click.Context, /, settings: Settings) -> None:
    """Serve the registry until SIGTERM or Ctrl-C.

    Each setting may also come from the file, or from the environment as REGISTRY_ and its path.
    """
    from cargohold import app  # noqa: PLC0415 - it brings the server in, which --help need not wait for

    context.exit(app.serve(settings))
