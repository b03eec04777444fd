"""What a run of the collector has come to, on the disk, so that one that is broken off can be taken up again."""

from __future__ import annotations

import hashlib
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import msgspec

from cargohold.storage.boot import boot_id
from cargohold.storage.durable import make_folders, remove, replace_unsynced
from cargohold.storage.filesystem.collection.clock import ClockSet, Void, is_set, shift
from cargohold.storage.filesystem.collection.linked import Linked, without_room
from cargohold.storage.filesystem.tree import read_file

if TYPE_CHECKING:
    from cargohold.types.digest import Algorithm
    from cargohold.types.names import RepositoryName

_KEPT_AFTER: Final = 16
_SEAL_BYTES: Final = 16
_LONGEST: Final = 86400.0
"""Seconds after which a run is begun anew: what has been linked and unlinked since would count as linked."""


class Begun(msgspec.Struct, frozen=True):
    """What a run began with: when (seconds since the epoch), and how old a lease must be for what it takes away.

    `boot` tells one run of the machine from another, and `shift` whether the clock was set since.
    """

    boot: str
    started: float
    shift: float
    age: float


class _State(msgspec.Struct):
    """All that can be taken up: the repositories that are `done`, and what proves what was saved of their links."""

    begun: Begun
    done: list[str]
    proofs: dict[str, tuple[int, str]]


class Run:
    """One run, in `folder`, by whoever holds the collector's lock.

    What an earlier one has left there is taken up where it was of the same `age` (seconds), is not too old, is all
    there as it was written, and the clock was not set since; a dry run neither leaves nor takes up anything.
    `is_resumed` says whether that was so.
    """

    def __init__(self, folder: str, *, age: float, is_dry: bool) -> None:
        self._folder = f"{folder}/dry" if is_dry else f"{folder}/run"
        self._is_dry = is_dry
        self._done: set[str] = set()
        self._unsaved: list[str] = []
        self._swept = 0
        self._is_over = False
        self.linked = Linked(self._folder)
        found = None if is_dry else self._load(age)
        self.is_resumed = found is not None
        self.begun = found or self._begin(age)
        if found is None and not is_dry:
            self._save_state()

    def is_done(self, repository: RepositoryName) -> bool:
        """Whether all links of the repository have been looked at."""
        return repository in self._done

    def note_done(self, repository: RepositoryName) -> None:
        """All links of the repository have been looked at, and those that stay have been added to `linked`."""
        self._done.add(str(repository))
        self._unsaved.append(repository)
        if self.linked.is_full:
            self.save()

    def save(self) -> None:
        """Put down what was found so far; of a run that is over, nothing."""
        if self._is_over:
            return
        self._save_swept()
        if self.linked.save() and self._unsaved and not self._is_dry:
            self._unsaved.clear()
            self._save_state()

    def check(self) -> None:
        """Raise Void where the clock was set since the run began: what was leased since may look old."""
        if is_set(self.begun.shift):
            self.end()
            raise ClockSet

    def linked_with(self, algorithm: Algorithm, prefix: int) -> set[bytes]:
        """The digests that are linked (packed), of the algorithm and with this first byte.

        Raises Void where what was noted of them is not there as it was written.
        """
        found = self.linked.with_prefix(algorithm, prefix)
        if found is None:
            self.end()
            raise Void(f"what the run of the collector had noted in {self._folder} was removed or changed")
        return found

    @property
    def swept(self) -> int:
        """How many parts of the content have been swept, of all that there are."""
        return self._swept

    @swept.setter
    def swept(self, parts: int) -> None:
        self._swept = parts
        if parts % _KEPT_AFTER == 0:
            self._save_swept()

    def _save_swept(self) -> None:
        if self._swept and not self._is_dry:
            _keep(f"{self._folder}/swept", str(self._swept).encode())

    def end(self) -> None:
        """All was done, or nothing is to be taken up."""
        self._is_over = True
        remove(self._folder)

    def _save_state(self) -> None:
        content = msgspec.json.encode(_State(self.begun, sorted(self._done), self.linked.proofs))
        _keep(f"{self._folder}/state", _seal(content) + content)

    def _begin(self, age: float) -> Begun:
        remove(self._folder)
        with without_room():
            make_folders(self._folder)
        return Begun(boot_id(), time.time(), shift(), age)

    def _load(self, age: float) -> Begun | None:
        try:
            saved = read_file(f"{self._folder}/state")
            seal, content = saved[:_SEAL_BYTES], saved[_SEAL_BYTES:]
            state = msgspec.json.decode(content, type=_State)
        except (FileNotFoundError, ValueError):
            return None
        begun = state.begun
        is_fit = seal == _seal(content) and (begun.boot, begun.age) == (boot_id(), age)
        if not is_fit or is_set(begun.shift) or not 0 <= time.time() - begun.started < _LONGEST:
            return None
        if not self.linked.take_up(state.proofs):
            self.linked = Linked(self._folder)
            return None
        self._done.update(state.done)
        # Were this too much, then what is left over would go in the next run.
        with suppress(FileNotFoundError, ValueError):
            self._swept = int(read_file(f"{self._folder}/swept"))
        return begun


def _seal(content: bytes) -> bytes:
    """What was not synced may be there in part, in a copy that was made of the whole disk."""
    return hashlib.blake2b(content, digest_size=_SEAL_BYTES).digest()


def _keep(path: str, content: bytes) -> None:
    """Where there is no room for it, the run cannot be taken up, and that is all."""
    with without_room():
        replace_unsynced(path, content)
