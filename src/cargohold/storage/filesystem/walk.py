"""Walks over the tree, for what no list tells: which repositories there are, whoever made them."""

from __future__ import annotations

import os
import re
from bisect import bisect_left
from contextlib import suppress
from heapq import heappop, heappush
from typing import TYPE_CHECKING, NamedTuple

from cargohold.storage.filesystem.tree import is_absence
from cargohold.storage.proofs import Proof, stamp
from cargohold.types.errors import NameInvalid
from cargohold.types.names import RepositoryName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Look = Callable[[str, RepositoryName | None], "Below"]

_Identity = tuple[int, int]

# Whatever sorts up to `/`, not only what names are made of: a client may ask for what comes after `a+`, as `a/b` does.
_SEPARATOR = re.compile(r"[\x00-/]")
_PARTS = ("_layers", "_manifests", "_uploads")
_MOST_KNOWN = 4_096


class Below(NamedTuple):
    """What is in a folder: those that may be repositories, sorted, and whether it is one itself.

    `is_all` is whether no repository can be reached through the folder that is not told: none behind a symbolic link.
    """

    names: list[str]
    is_repository: bool
    is_all: bool


_NOTHING = Below([], is_repository=False, is_all=True)


def read_folder(folder: str, name: RepositoryName | None) -> Below:
    """What is in the folder of that name (None: in the first one). Raises OSError."""
    below = _look(f"{folder}/{name}" if name else folder)
    below.names.sort()
    return below


def repositories(folder: str, look: Look = read_folder, after: str = "") -> Iterator[RepositoryName]:
    """Every repository below a folder: whatever has layers, manifests or uploads, even if all are empty.

    In the order of their names' bytes; those that sort `after` a name alone, so that who wants a few looks at a few.
    Names that are no repository's are passed over with all below them; so are folders that may not be read, since
    nothing could be served from them. Links are not followed. Who walks over one tree again and again may `look` by
    what is known of it.
    """
    # Of each folder that is entered its next name, and the further ones. What is in a folder sorts after it, though
    # not at once: `a`, `a-b`, `a/b`.
    entered: list[tuple[str, Iterator[str]]] = []
    _enter(entered, _whole(_seen(look, folder, None).names, "", after))
    while entered:
        name, further = heappop(entered)
        _enter(entered, further)
        try:
            repository = RepositoryName(name)
        except NameInvalid:
            continue
        below = _seen(look, folder, repository)
        if name > after and below.is_repository:
            yield repository
        _enter(entered, _whole(below.names, f"{name}/", after))


def _enter(entered: list[tuple[str, Iterator[str]]], names: Iterator[str]) -> None:
    name = next(names, None)
    if name is not None:
        heappush(entered, (name, names))


def _whole(names: list[str], prefix: str, after: str) -> Iterator[str]:
    """Names that sort after one, or that are of folders in which such may be."""
    rest = after.removeprefix(prefix) if after.startswith(prefix) else ""
    # Of those that sort before it, only what it begins with is of such a folder, as `a` is where it is `a-b`.
    for index in range(bisect_left(names, _SEPARATOR.split(rest, 1)[0]), len(names)):
        if f"{names[index]}0" > rest:  # than which all that is in the folder sorts before
            yield prefix + names[index]


def _seen(look: Look, folder: str, name: RepositoryName | None) -> Below:
    """Nothing where there is no such folder any more, or where it may not be read, unless it is the first one."""
    try:
        return look(folder, name)
    except (FileNotFoundError, NotADirectoryError):
        return _NOTHING
    except PermissionError:
        if name is None:
            raise
        return _NOTHING


class KnownFolders:
    """Looks at the folders of one tree for walks; one that is proved to be as it was is not read again.

    For any thread. What is in 4,096 folders at the most is kept, in some hundred bytes of each, and of each name.
    """

    def __init__(self) -> None:
        self._known: dict[RepositoryName | None, tuple[Proof, Below]] = {}

    def look(self, folder: str, name: RepositoryName | None) -> Below:
        """As `read_folder`."""
        path = f"{folder}/{name}" if name else folder
        started, status, known = stamp(), os.stat(path), self._known.get(name)
        found = (status.st_ino, status.st_mtime_ns, status.st_ctime_ns)
        if known is not None and known[0] == found:
            return known[1]
        proof, below = Proof(*found), read_folder(folder, name)
        if proof.holds(started):
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[name] = proof, below
        return below


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
            below = _look(path, follow=True)
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
        if name and below.is_repository:
            yield name, is_linked, identity
        for child in below.names:
            with suppress(NameInvalid):
                inner = RepositoryName(f"{name}/{child}" if name else child)
                waiting.append((inner, is_linked or os.path.islink(f"{path}/{child}"), above | {identity}))


def _raise(_name: str, error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _look(folder: str, *, follow: bool = False) -> Below:
    """What is in it, in no order."""
    inner: list[str] = []
    is_repository, is_all = False, True
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name in _PARTS:
                is_repository = True
            elif entry.name.startswith(("_", ".")):
                continue
            elif _may_be_folder(entry, follow=follow):
                inner.append(entry.name)
            elif os.path.islink(entry.path):
                is_all = False
    return Below(inner, is_repository, is_all)


def _may_be_folder(entry: os.DirEntry[str], *, follow: bool) -> bool:
    """Whether it is one, or nobody can tell; who opens it learns why."""
    try:
        is_folder = entry.is_dir(follow_symlinks=follow)
        return is_folder or (follow and entry.is_symlink() and not os.path.exists(entry.path))
    except OSError:
        return True
