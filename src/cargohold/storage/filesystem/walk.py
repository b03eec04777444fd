"""Walks over the tree, for what no list tells: which repositories there are, whoever made them."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from cargohold.storage.filesystem.tree import is_absence
from cargohold.types.errors import NameInvalid
from cargohold.types.names import RepositoryName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_Identity = tuple[int, int]

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
    for name, is_linked, _ in _walk(folder, start, _raise):
        yield name, is_linked


def repositories_and_aliases(
    folder: str, step: Callable[[], object], failed: Callable[[str, OSError], object]
) -> Iterator[tuple[RepositoryName, bool]]:
    """Every repository that can be served from below a folder, and whether it may have two names, in no order.

    It may where a symbolic link leads to it; and its real folder has two where that is found by another way too. Who
    locks a repository by its name must know. Each is found twice, and `step` called each time. `failed` is called with
    the name of what cannot be read, and is passed over with all below it; a link that leads nowhere is such a one, as
    its volume may not be mounted. Where nothing can be read OSError is raised.
    """
    once: set[_Identity] = set()
    twice: set[_Identity] = set()
    for _, _, identity in _walk(folder, None, failed):
        (twice if identity in once else once).add(identity)
        step()
    del once
    for name, is_linked, identity in _walk(folder, None, failed):
        yield name, is_linked or identity in twice
        step()


def _walk(
    folder: str, start: RepositoryName | None, failed: Callable[[str, OSError], object]
) -> Iterator[tuple[RepositoryName, bool, _Identity]]:
    waiting: list[tuple[RepositoryName | None, bool, frozenset[_Identity]]] = [(start, False, frozenset())]
    while waiting:
        name, is_linked, above = waiting.pop()
        path = f"{folder}/{name}" if name else folder
        try:
            found = os.stat(path)
            inner, is_repository = _look(path, follow=True)
        except OSError as error:
            is_nowhere = isinstance(error, FileNotFoundError) and os.path.islink(path)
            if is_nowhere or not is_absence(error):
                if name is None:
                    raise
                failed(name, error)
            continue
        identity = (found.st_dev, found.st_ino)
        if identity in above:
            continue
        if name and is_repository:
            yield name, is_linked, identity
        for child in inner:
            with suppress(NameInvalid):
                below = RepositoryName(f"{name}/{child}" if name else child)
                waiting.append((below, is_linked or os.path.islink(f"{path}/{child}"), above | {identity}))


def _raise(_name: str, error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _look(folder: str, *, follow: bool = False) -> tuple[list[str], bool]:
    """The names of the folders in it that may be repositories, and whether it is one itself."""
    inner: list[str] = []
    is_repository = False
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name in _PARTS:
                is_repository = True
            elif not entry.name.startswith(("_", ".")) and _may_be_folder(entry, follow=follow):
                inner.append(entry.name)
    return inner, is_repository


def _may_be_folder(entry: os.DirEntry[str], *, follow: bool) -> bool:
    """Whether it is one, or nobody can tell; who opens it learns why."""
    try:
        is_folder = entry.is_dir(follow_symlinks=follow)
        return is_folder or (follow and entry.is_symlink() and not os.path.exists(entry.path))
    except OSError:
        return True
