"""Which content is linked: gathered from all repositories, and asked for a few at a time."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from cargohold.storage import disk
from cargohold.storage.durable import make_folders, write_all
from cargohold.storage.filesystem.tree import size_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cargohold.types.digest import Algorithm

_MOST_IN_MEMORY: Final = 1 << 20
_BYTES: Final = {"sha256": 32, "sha512": 64}
NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


@contextmanager
def without_room() -> Iterator[None]:
    """Do without what the disk has no room for: a collection is what makes room."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise


class Linked:
    """Digests (packed), as often as they are added; in a file of `folder` for each algorithm and first byte.

    A million of them take 32 MB on the disk, and the memory of one file. Where the disk has no room for them they stay
    in memory: that is when space is needed most. What was saved can be taken up by another process after this one has
    died, though not after a power cut.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._waiting: dict[tuple[int, int], bytearray] = {}
        self._size = 0
        self._has_room = True

    def add(self, packed: bytes) -> None:
        """One more digest that is linked."""
        self._waiting.setdefault((len(packed), packed[0]), bytearray()).extend(packed)
        self._size += len(packed)

    @property
    def is_full(self) -> bool:
        """Whether so much is in memory that it had better be saved."""
        return self._has_room and self._size >= _MOST_IN_MEMORY

    def save(self) -> bool:
        """Put down what is in memory; False where there is no room for that, now or before."""
        while self._has_room and self._waiting:
            (length, prefix), digests = self._waiting.popitem()
            self._waiting[length, prefix] = digests
            self._has_room = False
            with without_room():
                self._append(self._path(length, prefix), length, digests)
                self._has_room = True
                del self._waiting[length, prefix]
                self._size -= len(digests)
        return self._has_room

    def with_prefix(self, algorithm: Algorithm, prefix: int) -> set[bytes]:
        """Those of the algorithm whose first byte it is."""
        length = _BYTES[algorithm.value]
        return set(self._parts(length, prefix))

    def _parts(self, length: int, prefix: int) -> Iterator[bytes]:
        try:
            with open(self._path(length, prefix), "rb", buffering=0) as file:
                saved = file.read()
        except FileNotFoundError:
            saved = b""
        for digests in (saved, bytes(self._waiting.get((length, prefix), b""))):
            # The last may be a part of one, where a process died as it saved.
            for start in range(0, len(digests) - length + 1, length):
                yield digests[start : start + length]

    def _append(self, path: str, length: int, digests: bytearray) -> None:
        try:
            descriptor = disk.open_file(path, is_new=False)
        except FileNotFoundError:
            make_folders(self._folder)
            descriptor = disk.open_file(path, is_new=False)
        try:
            end = (size_of(path) or 0) // length * length
            os.lseek(descriptor, end, os.SEEK_SET)
            write_all(descriptor, bytes(digests))
        finally:
            os.close(descriptor)

    def _path(self, length: int, prefix: int) -> str:
        return f"{self._folder}/{length}-{prefix:02x}"
