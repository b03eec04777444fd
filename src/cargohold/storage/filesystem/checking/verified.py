"""How far a check of all content has come, kept so that the next one can go on from there."""

from __future__ import annotations

import math
import time
from collections import deque
from typing import TYPE_CHECKING, Final

import msgspec

from cargohold.storage.durable import replace_unsynced
from cargohold.storage.files import read_whole
from cargohold.storage.filesystem.checking.reading import LateError
from cargohold.storage.filesystem.tree import UNWRITABLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cargohold.storage.filesystem.checking.content import ContentCheck
    from cargohold.storage.filesystem.checking.findings import Finding, Looked
    from cargohold.storage.layout import Layout
    from cargohold.types.digest import Digest

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
    """The file that keeps it. What a power cut takes of it is read once more.

    `is_kept` says whether the last that was to be saved could be written.
    """

    def __init__(self, layout: Layout) -> None:
        self._path = f"{layout.own}/fsck/verified.json"
        self._saved = 0.0
        self.is_kept = True

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
                self.is_kept = True
            except OSError as error:
                if error.errno not in UNWRITABLE:
                    raise
                self.is_kept = False
            self._saved = time.monotonic()


class Verification:
    """One check of all content: reads what comes after `progress`, and notes there how far it has come.

    Nothing is begun after `seconds`, and what is being read then is given up, but for the first that is due: a blob
    that takes longer would never be read otherwise. `is_whole` says whether nothing that was due has been left.
    """

    def __init__(
        self, content: ContentCheck, kept: Verified, progress: Progress, seconds: float | None
    ) -> None:
        self.is_whole = True
        self._content, self._kept, self._progress = content, kept, progress
        self._until = math.inf if seconds is None else time.monotonic() + seconds
        self._from = progress.after
        self._first: Digest | None = None
        self._waiting: deque[Digest] = deque()
        self._read: set[Digest] = set()
        self._ended: dict[Digest, Looked] = {}

    def begin(self, digests: Sequence[Digest]) -> None:
        """These are looked at next, in their order; all before them have been."""
        self._waiting = deque(each for each in digests if each > self._from)
        self._ended.clear()
        if self._first is None and self._waiting:
            self._first = self._waiting[0]

    def look(self, digest: Digest, looked: Looked) -> Iterator[Finding]:
        """What is wrong with a blob. For threads. Raises ClosingError."""
        is_due = digest > self._from
        is_read = is_due and (self.is_whole or digest == self._first)
        until = math.inf if digest == self._first else self._until
        try:
            yield from self._content.check(digest, looked, verify=is_read, until=until)
        except LateError:
            is_read = False
        if is_read:
            self._read.add(digest)
        elif is_due:
            self.is_whole = False

    def note(self, digest: Digest, looked: Looked) -> None:
        """All that was found of a blob has been told."""
        if digest not in self._read:
            return
        self._read.remove(digest)
        self._ended[digest] = looked
        while self._waiting and self._waiting[0] in self._ended:
            last = self._waiting.popleft()
            self._progress.after = str(last)
            self._progress.verified += self._ended[last].verified
            self._progress.verified_bytes += self._ended[last].verified_bytes
            self._kept.save(self._progress)

    def end(self) -> None:
        """All has been looked at."""
        if self.is_whole:
            self._progress.ended = time.time()
