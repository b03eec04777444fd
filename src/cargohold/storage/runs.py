"""What has come of the runs of the garbage collector on a tree: a small file that whoever wants to know reads."""

from __future__ import annotations

import logging
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Literal, get_args

import msgspec

from cargohold.storage.durable import replace_unsynced
from cargohold.storage.files import read_whole
from cargohold.storage.locks import PATIENCE, locked, open_lock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cargohold.storage.layout import Layout

Outcome = Literal["complete", "partial", "stopped", "failed"]
"""Of a run: all was looked at; all but what cannot be read; it was told to end; an error has ended it."""

OUTCOMES: Final[tuple[Outcome, ...]] = get_args(Outcome)

_MOST_BYTES: Final = 65_536

_log = logging.getLogger(__name__)


class Runs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All runs on a tree, and the last that came to its end; dry runs are none.

    `since` is when that began to be noted and `ended` when the last run ended (0 where none has), in seconds since the
    epoch; `seconds` is how long that took, `skipped` how many repositories it could not read. `freed` are the bytes of
    all runs, `outcomes` how many there were of each.
    """

    since: float
    ended: float = 0.0
    seconds: float = 0.0
    skipped: int = 0
    freed: int = 0
    outcomes: dict[Outcome, int] = {}

    @property
    def last(self) -> float:
        """When the last run ended, or else when they began to be noted."""
        return self.ended or self.since


class RunsFile:
    """The file, which may be removed at any time; where it is damaged it is begun anew. Not durable.

    Each call raises OSError where the disk is in the way, and Busy.
    """

    def __init__(self, layout: Layout) -> None:
        self._path = f"{layout.gc}/last.json"
        self._lock = f"{layout.locks}/gc.last"

    def read(self) -> Runs | None:
        """What is known; None where nothing is."""
        try:
            return msgspec.json.decode(read_whole(self._path, _MOST_BYTES)[0], type=Runs)
        except (FileNotFoundError, ValueError):
            return None

    def begin(self) -> Runs:
        """What is known; from now on where nothing was."""
        with self._locked():
            return self._read_or_begin()

    def note(self, outcome: Outcome, *, seconds: float = 0.0, skipped: int = 0, freed: int = 0) -> None:
        """Add a run that has just ended."""
        with self._locked():
            runs = self._read_or_begin()
            outcomes = {**runs.outcomes, outcome: runs.outcomes.get(outcome, 0) + 1}
            runs = msgspec.structs.replace(runs, outcomes=outcomes, freed=runs.freed + freed)
            if outcome in ("complete", "partial"):
                runs = msgspec.structs.replace(runs, ended=time.time(), seconds=seconds, skipped=skipped)
            self._write(runs)

    def _read_or_begin(self) -> Runs:
        found = self.read()
        if found is None:
            if os.path.exists(self._path):
                _log.warning("%s is not as it was written, and begun anew", self._path)
            found = Runs(since=time.time())
            self._write(found)
        return found

    def _write(self, runs: Runs) -> None:
        replace_unsynced(self._path, msgspec.json.encode(runs))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Of a command and a server that end a run at once, each adds its own."""
        descriptor = open_lock(self._lock)
        try:
            with locked(descriptor, time.monotonic() + PATIENCE):
                yield
        finally:
            os.close(descriptor)
