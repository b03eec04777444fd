"""Passwords as they are given to commands: typed without an echo, or from standard input."""

from __future__ import annotations

import os
import sys

import click

_LONGEST_INPUT = 4096


def read_password(*, stdin: bool, again: bool, option: str) -> str:
    """A password from who types it, or from standard input without the end of its line.

    `again` asks who types it twice; `option` is the one that makes `stdin` true, for those without a terminal.
    Raises click.UsageError.
    """
    if not stdin:
        if sys.stdin is None or not sys.stdin.isatty():
            raise click.UsageError(f"there is no terminal to ask for the password; use {option}")
        typed: str = click.prompt("Password", hide_input=True, confirmation_prompt=again, err=True)
        return _decoded(os.fsencode(typed))
    if sys.stdin is None:
        raise click.UsageError("standard input is closed")
    given = sys.stdin.buffer.read(_LONGEST_INPUT + 1)
    line = given.removesuffix(b"\n").removesuffix(b"\r")
    if len(given) > _LONGEST_INPUT or b"\n" in line:
        raise click.UsageError("standard input must hold the password alone, in one line")
    return _decoded(line)


def _decoded(password: bytes) -> str:
    try:
        return password.decode()
    except UnicodeDecodeError:
        raise click.UsageError("the password is not UTF-8") from None
