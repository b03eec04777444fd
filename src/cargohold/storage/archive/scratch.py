"""Notes of one command that may outgrow its memory: a database in a temporary file, gone when it is closed."""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_CACHE_KIB = 8_192


def open_scratch(schema: str) -> sqlite3.Connection:
    """An empty database with the tables of the schema, at most 8 MiB of which are in memory.

    Nothing of it need survive, so nothing is synced, and each statement counts by itself.
    """
    connection = sqlite3.connect("", isolation_level=None)
    for pragma in ("journal_mode=OFF", "synchronous=OFF", f"cache_size=-{_CACHE_KIB}"):
        connection.execute(f"PRAGMA {pragma}")
    connection.executescript(schema)
    return connection


@contextmanager
def open_spool(folder: str | None = None) -> Iterator[int]:
    """A descriptor of an empty file without a name, gone on leaving; on the disk of `folder`, if that is given."""
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        yield file.fileno()
