"""What the commands print, in one form."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterable


def print_table(heading: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    """On stdout, in columns that are as wide as they must be; a row has as many cells as the heading."""
    lines = [heading, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        click.echo("  ".join(map(str.ljust, line, widths)).rstrip())


def written_time(seconds: float) -> str:
    """A time of the epoch as RFC 3339 writes it, in whole seconds of UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
