"""How far a check of all content has come, kept so that the next one can go on from there."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import msgspec

from cargohold.storage.durable import replace_unsynced
from cargohold.storage.files import read_whole
from cargohold.storage.filesystem.tree import UNWRITABLE

if TYPE_CHECKING:
    from cargohold.storage.layout import Layout

_PAUSE: Final = 5.0


class Progress(msgspec.Struct):
    """A check that `began` (seconds since the epoch) has read all content up to `after`, in the order of its folders.

    `ended` is 0 until it has read all. `last` is when the one before it ended, 0 where there was none.
    """

    began: float
    after: str = ""
    ended: float = 0.0
    last: float = 0.0
    verified: int = 0
    verified_bytes: int = 0


class Verified:
    """The file that keeps it. What a power cut takes of it is read once more."""

    def __init__(self, layout: Layout) -> None:
        self._path = f"{layout.own}/fsck/verified.json"
        self._saved = 0.0

    def load(self) -> Progress | None:
        """What is kept; None where there is nothing, or nothing that we have written."""
        try:
            return msgspec.json.decode(read_whole(self._path)[0], type=Progress)
        except (FileNotFoundError, ValueError):
            return None

    def begin(self, *, resume: bool) -> Progress:
        """Where to go on, or begin anew: also where the last check came to its end."""
        found = self.load()
        if found is None:
            return Progress(time.time())
        if resume and not found.ended:
            return found
        return Progress(time.time(), last=found.ended or found.last)

    def save(self, progress: Progress, *, at_once: bool = False) -> None:
        """Keep it where that can be done, at most every few seconds unless it must be `at_once`."""
        if at_once or time.monotonic() - self._saved > _PAUSE:
            try:
                replace_unsynced(self._path, msgspec.json.encode(progress))
            except OSError as error:
                if error.errno not in UNWRITABLE:
                    raise
            self._saved = time.monotonic()
