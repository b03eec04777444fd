"""The names in a folder, sorted, kept only as long as their freshness is proved.

The proof is what `stat` says of the folder: its inode and both its times. The time of modification can be put back
by any process, the time of change cannot. Both move in steps (4 ms on kernels before 6.13), so a folder that changed
less than two seconds before it was read may have changed again within the same step: such a list is used once and
not kept. Whoever changes the folder, in this process or another, makes the kept list void by that.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from bisect import bisect_right
from collections import OrderedDict
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_RACY = 2_000_000_000
_WORTH_A_FILE = 4_096
_MOST_IN_MEMORY = 400_000
_MAGIC = b"cargohold list 1"


class Proof(NamedTuple):
    """What must not have changed."""

    inode: int
    modified: int
    changed: int

    @classmethod
    def of(cls, folder: str) -> Proof:
        """The folder's proof at this moment. Raises FileNotFoundError."""
        status = os.stat(folder)
        return cls(status.st_ino, status.st_mtime_ns, status.st_ctime_ns)

    def holds(self, started: int) -> bool:
        """Whether it proves a reading that began at `started` (nanoseconds), for as long as it stays the same."""
        return started - max(self.modified, self.changed) >= _RACY


class FolderLists:
    """Lists of folders' names, kept in memory and, where long, in a file that other processes use too.

    Safe for threads; memory is bounded by the total number of names.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lists: OrderedDict[str, tuple[Proof, list[str]]] = OrderedDict()
        self._total = 0

    def names(self, folder: str, kept: str, meaning: Callable[[str], str] | None = None) -> list[str]:
        """What the folder's names mean, sorted by their bytes; not to be changed. Empty where there is no such folder.

        `kept` is the path of the file for a long list; losing it, or finding rubbish in it, costs a new reading.
        `meaning` turns a file's name into what it stands for (default: itself); always the same for one folder.
        """
        started = time.time_ns()
        try:
            proof = Proof.of(folder)
        except FileNotFoundError:
            return []
        with self._lock:
            found = self._lists.get(folder)
            if found is not None and found[0] == proof:
                self._lists.move_to_end(folder)
                return found[1]
        names = _load(kept, proof)
        if names is None:
            found_names = os.listdir(folder)
            names = sorted(map(meaning, found_names) if meaning else found_names)
            if not proof.holds(started) or Proof.of(folder) != proof:
                return names
            if len(names) >= _WORTH_A_FILE:
                _save(kept, proof, names)
        self._keep(folder, proof, names)
        return names

    def _keep(self, folder: str, proof: Proof, names: list[str]) -> None:
        with self._lock:
            old = self._lists.pop(folder, None)
            self._total += len(names) + 1 - (len(old[1]) + 1 if old else 0)
            self._lists[folder] = (proof, names)
            while self._total > _MOST_IN_MEMORY and len(self._lists) > 1:
                _, (_, dropped) = self._lists.popitem(last=False)
                self._total -= len(dropped) + 1


def after(names: list[str], last: str) -> Iterator[str]:
    """The names that sort after `last`."""
    for index in range(bisect_right(names, last), len(names)):
        yield names[index]


def _load(path: str, proof: Proof) -> list[str] | None:
    try:
        with open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError:
        return None
    head, _, rest = content.partition(b"\n")
    names = rest.decode("utf-8", "surrogateescape").split("\n")
    return names if head == _head(proof, len(names)) else None


def _save(path: str, proof: Proof, names: list[str]) -> None:
    """Not synced: a list that a power cut spoils is known by its head and read anew."""
    made = f"{path}.{uuid.uuid4().hex}"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    try:
        with open(made, "wb") as file:
            file.write(_head(proof, len(names)) + b"\n" + "\n".join(names).encode("utf-8", "surrogateescape"))
        os.rename(made, path)
    except OSError:
        # A full disk must not keep anyone from reading: the list is right without the file.
        with suppress(OSError):
            os.unlink(made)


def _head(proof: Proof, count: int) -> bytes:
    return b"%s %d %d %d %d" % (_MAGIC, *proof, count)
