"""The records of referrers, as they are on the disk, and kept in memory as long as that is proved."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cargohold.storage.filesystem.tree import folder_names, read_file
from cargohold.storage.layout import unflat
from cargohold.storage.proofs import Proof, stamp
from cargohold.types.errors import DigestInvalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_MOST_IN_MEMORY: Final = 8 << 20
_NAME_BYTES: Final = 250
"""What a referrer takes beside its descriptor: its name, and its places in a list and a dictionary."""
_FOLDER_BYTES: Final = 1_000


@dataclass(frozen=True)
class Record:
    """What refers to a subject: referrers by the paths of their folders (`sha256/...`), sorted; not to be changed."""

    folder: str
    names: list[str]
    descriptors: dict[str, bytes] = field(default_factory=dict)


class Records:
    """The records of subjects, in memory as long as their folders are proved to be as they were (see `proofs`).

    Whoever records a referrer, or mends what is recorded of one, renames a file into the folder. Safe for threads.
    What is kept takes some eight mebibytes at most.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[Proof, Record]] = {}
        self._total = 0

    def of(self, folder: str) -> Record:
        """What is recorded in the folder of a subject: nothing where there is no such folder."""
        started = stamp()
        try:
            proof = Proof.of(folder)
            kept = self._kept.get(folder)
            if kept is not None and kept[0] == proof:
                return kept[1]
            record = Record(folder, sorted(_referrers(folder_names(folder))))
            if proof.holds(started) and Proof.of(folder) == proof:
                self._keep(proof, record)
        except (FileNotFoundError, NotADirectoryError):
            return Record(folder, [])
        return record

    def descriptor(self, record: Record, name: str) -> bytes:
        """What is recorded of a referrer. Raises FileNotFoundError where that was taken away meanwhile."""
        found = record.descriptors.get(name)
        if found is None:
            found = record.descriptors[name] = read_file(f"{record.folder}/{name.replace('/', '-', 1)}")
            self._make_room(len(found))
        return found

    def _keep(self, proof: Proof, record: Record) -> None:
        size = len(record.names) * _NAME_BYTES
        if size <= _MOST_IN_MEMORY:
            self._make_room(size + _FOLDER_BYTES)
            with self._lock:
                self._kept[record.folder] = proof, record

    def _make_room(self, size: int) -> None:
        """For so many bytes; where there is no more of it all is forgotten, and read again when it is asked for."""
        with self._lock:
            if self._total + size > _MOST_IN_MEMORY:
                self._kept.clear()
                self._total = 0
            self._total += size


def _referrers(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        with suppress(DigestInvalid):
            yield unflat(name).replace(":", "/", 1)
