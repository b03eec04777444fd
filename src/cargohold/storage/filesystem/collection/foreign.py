"""What lies in the tree and is served by nobody here, though somebody may want it again: it keeps all that it names.

Such are repositories that were hidden by another name, and links by a digest whose algorithm we do not know.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from cargohold.storage.files import read_whole
from cargohold.types.digest import Algorithm
from cargohold.types.errors import NameInvalid
from cargohold.types.mentions import mentioned
from cargohold.types.names import RepositoryName

if TYPE_CHECKING:
    from collections.abc import Iterator

_PARTS: Final = frozenset({"_layers", "_manifests", "_uploads", "_cargohold"})
_ALGORITHMS: Final = frozenset(algorithm.value for algorithm in Algorithm)


def nameless_folders(repositories: str) -> Iterator[str]:
    """The folders whose names are those of no repository, and of no part of one; those in them are not told.

    Raises OSError where one cannot be read.
    """
    for path, folders, _ in os.walk(repositories, onerror=_raise):
        inside = [name for name in folders if name not in _PARTS]
        named = [name for name in inside if _is_repository(os.path.relpath(f"{path}/{name}", repositories))]
        yield from (f"{path}/{name}" for name in set(inside).difference(named))
        folders[:] = named


def unknown_algorithms(folder: str) -> list[str]:
    """The folders in it that are named by no algorithm that we know; none where there is no such folder."""
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [f"{folder}/{name}" for name in names if name not in _ALGORITHMS]


def named_below(folder: str) -> Iterator[bytes]:
    """The digests, packed, that stand in any small file below a folder, or in a name. Raises OSError."""
    for path, _, files in os.walk(folder, onerror=_raise):
        yield from mentioned(path.replace("/", ":").replace("-", ":").encode("utf-8", "replace"))
        for name in files:
            # An upload's data is large, and names nothing.
            with suppress(FileNotFoundError, ValueError):
                yield from mentioned(read_whole(f"{path}/{name}")[0])


def _is_repository(name: str) -> bool:
    try:
        RepositoryName(name)
    except NameInvalid:
        return False
    return True


def _raise(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
