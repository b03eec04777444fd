"""How a command ends that could not do what was asked."""

from __future__ import annotations

import click


class Refused(click.ClickException):
    """It could not be done; the message says why on stderr, and the exit code is 1."""

    def show(self, file: object = None) -> None:  # noqa: ARG002 - click's signature
        """Say it as the server says what is wrong."""
        click.echo(f"cargohold: {self.message}", err=True)
