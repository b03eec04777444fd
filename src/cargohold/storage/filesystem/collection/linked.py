"""Which content is linked: gathered from all repositories, and asked for a few at a time."""

from __future__ import annotations

import errno
import hashlib
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from cargohold.storage import disk
from cargohold.storage.durable import make_folders, write_all

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

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


class _Saved:
    """What was put into one file: how many bytes, and their hash."""

    def __init__(self, content: bytes = b"") -> None:
        self.size = 0
        self._hash = hashlib.blake2b(digest_size=16)
        self.add(content)

    def add(self, content: bytes) -> None:
        """These were put at its end."""
        self.size += len(content)
        self._hash.update(content)

    @property
    def proof(self) -> tuple[int, str]:
        """What no other content has."""
        return self.size, self._hash.hexdigest()


class Linked:
    """Digests (packed), as often as they are added; in a file of `folder` for each algorithm and first byte.

    A million of them take 32 MB on the disk, and the memory of one file. Where the disk has no room for them they stay
    in memory: that is when space is needed most. What was saved can be taken up by another process after this one has
    died. It is read only where it is byte for byte what was written: whatever were missing would be collected.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._saved: dict[str, _Saved] = {}
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
                self._append(_name(length, prefix), bytes(digests))
                self._has_room = True
                del self._waiting[length, prefix]
                self._size -= len(digests)
        return self._has_room

    @property
    def proofs(self) -> dict[str, tuple[int, str]]:
        """What proves that the files are as they were saved, by their names."""
        return {name: saved.proof for name, saved in self._saved.items()}

    def take_up(self, proofs: Mapping[str, tuple[int, str]]) -> bool:
        """Go on with what another process has saved; False where it is not there as it was."""
        for name, proof in proofs.items():
            saved = _Saved(self._read(name, proof[0]))
            if saved.proof != proof:
                return False
            self._saved[name] = saved
        return True

    def with_prefix(self, algorithm: Algorithm, prefix: int) -> set[bytes] | None:
        """Those of the algorithm whose first byte it is; None where what was saved of them is not as it was."""
        length = _BYTES[algorithm.value]
        name = _name(length, prefix)
        known = self._saved.get(name) or _Saved()
        saved = self._read(name, known.size)
        if _Saved(saved).proof != known.proof:
            return None
        waiting = bytes(self._waiting.get((length, prefix), b""))
        return {
            digests[start : start + length]
            for digests in (saved, waiting)
            for start in range(0, len(digests), length)
        }

    def _read(self, name: str, size: int) -> bytes:
        """What is behind that was written by a process that died before it could say so."""
        try:
            with open(f"{self._folder}/{name}", "rb") as file:
                return file.read(size)
        except FileNotFoundError:
            return b""

    def _append(self, name: str, digests: bytes) -> None:
        saved, path = self._saved.setdefault(name, _Saved()), f"{self._folder}/{name}"
        try:
            descriptor = disk.open_file(path, is_new=False)
        except FileNotFoundError:
            make_folders(self._folder)
            descriptor = disk.open_file(path, is_new=False)
        try:
            os.lseek(descriptor, saved.size, os.SEEK_SET)
            write_all(descriptor, digests)
        finally:
            os.close(descriptor)
        saved.add(digests)


def _name(length: int, prefix: int) -> str:
    return f"{length}-{prefix:02x}"
