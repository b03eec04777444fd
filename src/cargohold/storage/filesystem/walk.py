"""Walks over the tree, for what no list tells: which repositories there are, whoever made them."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from cargohold.types.errors import NameInvalid
from cargohold.types.names import RepositoryName

if TYPE_CHECKING:
    from collections.abc import Iterator

_PARTS = ("_layers", "_manifests", "_uploads")


def repositories(folder: str) -> Iterator[RepositoryName]:
    """Every repository below a folder, in no order: whatever has layers, manifests or uploads, even if all are empty.

    Names that are no repository's are passed over with all below them; links are not followed.
    """
    waiting = [""]
    while waiting:
        name = waiting.pop()
        inner, is_repository = _look(f"{folder}/{name}" if name else folder)
        if is_repository:
            with suppress(NameInvalid):
                yield RepositoryName(name)
        waiting += [f"{name}/{child}" if name else child for child in inner]


def _look(folder: str) -> tuple[list[str], bool]:
    inner: list[str] = []
    is_repository = False
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("_"):
                    is_repository = is_repository or entry.name in _PARTS
                elif not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
                    inner.append(entry.name)
    except FileNotFoundError:
        return [], False
    return inner, is_repository
