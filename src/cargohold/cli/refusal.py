"""How a command ends that could not do what was asked."""

from __future__ import annotations

from typing import Final

import click

BUSY: Final = 3


class Refused(click.ClickException):
    """It could not be done; the message says why on stderr, and the exit code is 1."""

    def show(self, file: object = None) -> None:  # noqa: ARG002 - click's signature
        """Say it as the server says what is wrong."""
        click.echo(f"cargohold: {self.message}", err=True)


class StorageBusy(Refused):
    """Another process holds the collector's lock: nothing was done, and the exit code is BUSY."""

    exit_code = BUSY

    def __init__(self) -> None:
        super().__init__(
            "another process is collecting garbage in this storage, or copies it: try again later"
        )
