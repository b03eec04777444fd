"""What the commands print, in one form."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from cargohold.cli.refusal import Refused
from cargohold.types.text import printable_json

if TYPE_CHECKING:
    from collections.abc import Iterable


class Unprinted(Refused):
    """Nobody can have seen what was to be printed."""


def print_line(text: str) -> None:
    """On stdout, and at once. Raises Unprinted where it cannot be written, or is closed."""
    _print(text, newline=True)


def print_bytes(content: bytes) -> None:
    """The same for bytes, which stay as they are."""
    _print(content, newline=False)


def _print(content: str | bytes, *, newline: bool) -> None:
    if sys.stdout is None:
        raise Unprinted("standard output is closed")
    try:
        click.echo(content, nl=newline)
    except OSError as error:
        _forget_unwritten(sys.stdout.fileno())
        raise Unprinted(f"standard output cannot be written: {error.strerror}") from None


def _forget_unwritten(stdout: int) -> None:
    """The interpreter would try once more as it ends, and then end with a code and words of its own."""
    nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    os.dup2(nowhere, stdout)
    os.close(nowhere)


def print_table(heading: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    """In columns that are as wide as they must be; a row has as many cells as the heading. Raises Unprinted."""
    lines = [heading, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    print_line("\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines))


def in_json(value: object) -> str:
    """On one line, in which what would command a terminal, or move other characters, is written as escapes."""
    import msgspec  # noqa: PLC0415 - what prints no JSON need not wait for it

    return printable_json(msgspec.json.encode(value).decode())


def written_time(seconds: float) -> str:
    """A time of the epoch as RFC 3339 writes it, in whole seconds of UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
