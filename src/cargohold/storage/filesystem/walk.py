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

    Names that are no repository's are passed over with all below them; so are folders that may not be read, since
    nothing could be served from them. Links are not followed.
    """
    waiting: list[RepositoryName | None] = [None]
    while waiting:
        name = waiting.pop()
        try:
            inner, is_repository = _look(f"{folder}/{name}" if name else folder)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError:
            if name is None:
                raise
            continue
        if name and is_repository:
            yield name
        for child in inner:
            with suppress(NameInvalid):
                waiting.append(RepositoryName(f"{name}/{child}" if name else child))


def all_repositories(
    folder: str, start: RepositoryName | None = None
) -> Iterator[tuple[RepositoryName, bool]]:
    """Every repository that can be served from below a folder, and whether a symbolic link leads to it, in no order.

    With a `start`, those of this name, or below it. For who must not miss one: links are followed, and what cannot be
    read raises OSError. One that disappears meanwhile is passed over.
    """
    waiting: list[tuple[RepositoryName | None, bool, frozenset[tuple[int, int]]]] = [
        (start, False, frozenset())
    ]
    while waiting:
        name, is_linked, above = waiting.pop()
        path = f"{folder}/{name}" if name else folder
        try:
            found = os.stat(path)
            inner, is_repository = _look(path, follow=True)
        except (FileNotFoundError, NotADirectoryError):
            continue
        identity = (found.st_dev, found.st_ino)
        if identity in above:
            continue
        if name and is_repository:
            yield name, is_linked
        for child in inner:
            with suppress(NameInvalid):
                below = RepositoryName(f"{name}/{child}" if name else child)
                waiting.append((below, is_linked or os.path.islink(f"{path}/{child}"), above | {identity}))


def _look(folder: str, *, follow: bool = False) -> tuple[list[str], bool]:
    """The names of the folders in it that may be repositories, and whether it is one itself."""
    inner: list[str] = []
    is_repository = False
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name in _PARTS:
                is_repository = True
            elif not entry.name.startswith(("_", ".")) and entry.is_dir(follow_symlinks=follow):
                inner.append(entry.name)
    return inner, is_repository
