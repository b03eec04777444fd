"""The names in a folder, sorted, kept only as long as their freshness is proved.

The proof is what `stat` says of the folder (see `proofs`). A list that is not proved is for those alone who asked for
it before it was read.
"""

from __future__ import annotations

import math
import os
import threading
import time
import zlib
from bisect import bisect_right
from collections import OrderedDict
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from cargohold.storage.durable import replace_unsynced
from cargohold.storage.proofs import Proof, stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_WORTH_A_FILE = 4_096
_MOST_IN_MEMORY = 400_000


class _List(NamedTuple):
    """Names, when their reading began (monotonic seconds), and what proves them, if anything does."""

    names: list[str]
    began: float
    proof: Proof | None


class LongReading(Exception):
    """A list is to be read anew that was long before; nothing was done."""


class FolderLists:
    """Lists of folders' names, kept in memory and, where long, in a file that other processes use too.

    Safe for threads; memory is bounded by the total number of names.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lists: OrderedDict[str, _List] = OrderedDict()
        self._total = 0

    def names(
        self,
        folder: str,
        kept: str,
        meaning: Callable[[str], str | None] | None = None,
        asked: float = math.inf,
        *,
        quickly: bool = False,
    ) -> list[str]:
        """What the folder's names mean, sorted by their bytes; not to be changed. Empty where there is no such folder.

        As long as the folder is proved not to have changed it is the same list, and so it is for all who asked before
        its reading began; `asked` is when, in monotonic seconds (default: in this moment). `kept` is the path of the
        file for a long one; losing it, or finding rubbish in it, costs a new reading. `meaning` turns a file's name
        into what it stands for, None for nothing (default: itself); always the same for one folder.

        Raises LongReading where the list is wanted `quickly` and cannot be had so.
        """
        began, started = time.monotonic(), stamp()
        try:
            proof = Proof.of(folder)
            with self._lock:
                found = self._lists.get(folder)
                if found is not None and (found.proof == proof or found.began >= asked):
                    self._lists.move_to_end(folder)
                    return found.names
            if quickly and found is not None and len(found.names) >= _WORTH_A_FILE:
                raise LongReading
            names, is_proved = self._read(folder, kept, meaning, proof, started)
        except (FileNotFoundError, NotADirectoryError):
            return []
        self._keep(folder, _List(names, began, proof if is_proved else None))
        return names

    def _read(
        self, folder: str, kept: str, meaning: Callable[[str], str | None] | None, proof: Proof, started: int
    ) -> tuple[list[str], bool]:
        """The names, and whether the proof holds for them."""
        is_proved, title = proof.holds(started), "list 2 {} {} {}".format(*proof)
        found_title, names = load_names(kept) if is_proved else ("", [])
        if found_title != title:
            found = os.listdir(folder)
            names = sorted(filter(None, map(meaning, found)) if meaning else found)
            is_proved = is_proved and Proof.of(folder) == proof
            if is_proved and len(names) >= _WORTH_A_FILE:
                save_names(kept, title, names)
        return names, is_proved

    def _keep(self, folder: str, made: _List) -> None:
        with self._lock:
            old = self._lists.pop(folder, None)
            self._total += len(made.names) + 1 - (len(old.names) + 1 if old else 0)
            self._lists[folder] = made
            while self._total > _MOST_IN_MEMORY and len(self._lists) > 1:
                self._total -= len(self._lists.popitem(last=False)[1].names) + 1


def after(names: list[str], last: str) -> Iterator[str]:
    """The names that sort after `last`."""
    for index in range(bisect_right(names, last), len(names)):
        yield names[index]


def save_names(path: str, title: str, names: list[str]) -> None:
    """Keep names in a file, under a title that says what they are (one line), if that can be done. Not durable.

    A power cut may spoil the file: the sum of its bytes tells. Names that a file of lines cannot hold are not kept.
    """
    content = "\n".join((title, *names)).encode("utf-8", "surrogateescape")
    if content.count(b"\n") != len(names):
        return
    # A full disk must not keep anyone from reading: the list is right without the file.
    with suppress(OSError):
        replace_unsynced(path, b"%08x\n%s" % (zlib.crc32(content), content))


def load_names(path: str) -> tuple[str, list[str]]:
    """The title and the names in a kept file; without a title where there is no file, or a spoiled one."""
    try:
        with open(path, "rb") as file:
            total, _, content = file.read().partition(b"\n")
    except (FileNotFoundError, NotADirectoryError):
        return "", []
    if total != b"%08x" % zlib.crc32(content):
        return "", []
    title, *names = content.decode("utf-8", "surrogateescape").split("\n")
    return title, names


def load_title(path: str) -> str:
    """The title of a kept file alone, which is not checked; empty where there is none."""
    try:
        with open(path, "rb") as file:
            file.readline()
            return file.readline().decode("utf-8", "replace").rstrip("\n")
    except (FileNotFoundError, NotADirectoryError):
        return ""
