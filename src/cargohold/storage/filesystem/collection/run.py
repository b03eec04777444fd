"""What a run of the collector has come to, on the disk, so that one that is broken off can be taken up again."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import msgspec

from cargohold.storage.boot import boot_id
from cargohold.storage.durable import make_folders, remove, replace_unsynced
from cargohold.storage.filesystem.collection.linked import Linked, without_room
from cargohold.storage.filesystem.tree import read_file

if TYPE_CHECKING:
    from cargohold.types.names import RepositoryName

_KEPT_AFTER: Final = 16
_LONGEST: Final = 86400.0
"""Seconds after which a run is begun anew: what has been linked and unlinked since would count as linked."""


class Begun(msgspec.Struct, frozen=True):
    """What a run began with: when (seconds since the epoch), and how old a lease must be for what it takes away.

    `boot` tells one run of the machine from another: after a power cut, what was saved may not be there.
    """

    boot: str
    started: float
    age: float


class Run:
    """One run, in `folder`, by whoever holds the collector's lock.

    What an earlier one has left there is taken up where it was of the same `age` (seconds), and is not too old; a dry
    run neither leaves nor takes up anything. `is_resumed` says whether that was so.
    """

    def __init__(self, folder: str, *, age: float, is_dry: bool) -> None:
        self._folder = f"{folder}/dry" if is_dry else f"{folder}/run"
        self._is_dry = is_dry
        self._done: set[str] = set()
        self._unsaved: list[str] = []
        self._swept = 0
        found = None if is_dry else self._load(age)
        self.is_resumed = found is not None
        self.begun = found or self._begin(age)
        self.linked = Linked(self._folder)

    def is_done(self, repository: RepositoryName) -> bool:
        """Whether all links of the repository have been looked at."""
        return repository in self._done

    def note_done(self, repository: RepositoryName) -> None:
        """All links of the repository have been looked at, and those that stay have been added to `linked`."""
        self._done.add(repository)
        self._unsaved.append(repository)
        if self.linked.is_full:
            self.save()

    def save(self) -> None:
        """Put down what was found so far."""
        self._save_swept()
        if self.linked.save() and self._unsaved and not self._is_dry:
            self._unsaved.clear()
            _keep(f"{self._folder}/done", "\n".join(sorted(self._done)).encode())

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
        remove(self._folder)

    def _begin(self, age: float) -> Begun:
        begun = Begun(boot_id(), time.time(), age)
        remove(self._folder)
        with without_room():
            make_folders(self._folder)
        _keep(f"{self._folder}/begun", msgspec.json.encode(begun))
        return begun

    def _load(self, age: float) -> Begun | None:
        try:
            begun = msgspec.json.decode(read_file(f"{self._folder}/begun"), type=Begun)
        except (OSError, ValueError):
            return None
        if (begun.boot, begun.age) != (boot_id(), age) or not 0 <= time.time() - begun.started < _LONGEST:
            return None
        with suppress(FileNotFoundError, ValueError):
            self._done.update(read_file(f"{self._folder}/done").decode().split())
        with suppress(FileNotFoundError, ValueError):
            self._swept = int(read_file(f"{self._folder}/swept"))
        return begun


def _keep(path: str, content: bytes) -> None:
    """Where there is no room for it, the run cannot be taken up, and that is all."""
    with without_room():
        replace_unsynced(path, content)
