"""Folders with very many names, read as the names are asked for, and what cannot be read."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from cargohold.storage.filesystem.checking.findings import Finding, Kind, Remedy
from cargohold.types.digest import Algorithm, Digest
from cargohold.types.errors import DigestInvalid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cargohold.storage.layout import Layout

_ABSENT: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


def names(folder: str) -> Iterator[str]:
    """The names in a folder, in no order; none where there is no such folder. What is removed meanwhile is no harm."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                yield entry.name
    except OSError as error:
        if error.errno not in _ABSENT:
            raise


def digests(folder: str) -> Iterator[Digest]:
    """The digests of which there is a folder, or a file, at `<folder>/<alg>/<hex>`."""
    for algorithm in Algorithm:
        for name in names(f"{folder}/{algorithm.value}"):
            with suppress(DigestInvalid):
                yield Digest(f"{algorithm.value}:{name}")


def readable(layout: Layout, findings: Iterator[Finding], path: str) -> Iterator[Finding]:
    """The findings; where the system does not let us look on, that is the last of them.

    What cannot be read, at `path` or below it, is left where it is: it may be well on another day.
    """
    try:
        yield from findings
    except OSError as error:
        yield unreadable(layout, error, path)


def unreadable(layout: Layout, error: OSError, path: str, digest: Digest | str = "") -> Finding:
    """The finding that something cannot be read, for the reason that the system gives."""
    return Finding(
        kind=Kind.UNREADABLE,
        path=os.path.relpath(error.filename or path, layout.root),
        remedy=Remedy.NOTHING,
        digest=digest,
        note=error.strerror or str(error),
    )
