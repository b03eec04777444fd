"""Folders with very many names, read as the names are asked for."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from cargohold.types.digest import Algorithm, Digest
from cargohold.types.errors import DigestInvalid

if TYPE_CHECKING:
    from collections.abc import Iterator


def names(folder: str) -> Iterator[str]:
    """The names in a folder, in no order; none where there is no such folder. What is removed meanwhile is no harm."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                yield entry.name
    except (FileNotFoundError, NotADirectoryError):
        return


def digests(folder: str) -> Iterator[Digest]:
    """The digests of which there is a folder, or a file, at `<folder>/<alg>/<hex>`."""
    for algorithm in Algorithm:
        for name in names(f"{folder}/{algorithm.value}"):
            with suppress(DigestInvalid):
                yield Digest(f"{algorithm.value}:{name}")
