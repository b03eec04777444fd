"""What those who take part share: where the server is, when it died, what they know of it, and what went wrong."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from typing import TYPE_CHECKING, Final

from tests.soak.history import History
from tests.soak.pool import Pool

if TYPE_CHECKING:
    from pathlib import Path

_EVENTS = 50_000
_TOLD = 40
_DEATH_SECONDS = 30.0
_NOTICE_SECONDS = 1.0
_START_SECONDS = 60.0
REPOSITORIES: Final = ("a", "a/b", "team/app", "team/mirror")
TAGS: Final = ("latest", "v1", "v2", "v3", "v4")


class Broken(Exception):
    """The registry did what it must not."""


class Died(Exception):
    """The server was killed while it was asked; `at` is when nothing of it was left (monotonic seconds)."""

    def __init__(self, at: float) -> None:
        super().__init__(at)
        self.at = at


class World:
    """`counts` says how often what was done and seen; `grace` is the collector's, in seconds."""

    def __init__(self, seed: int, grace: float) -> None:
        self.seed = seed
        self.grace = grace
        self.pool = Pool(seed)
        self.history = History(self.pool, TAGS, grace)
        self.counts: Counter[str] = Counter()
        self.over = threading.Event()
        self.failures: list[str] = []
        self._events: deque[str] = deque(maxlen=_EVENTS)
        self._changed = threading.Condition()
        self._url = ""
        self._life = 0
        self._deaths: dict[int, float] = {}

    def born(self, url: str) -> None:
        """A server is up."""
        with self._changed:
            self._life += 1
            self._url = url
            self._changed.notify_all()
        self.note(f"server {self._life} is up at {url}")

    def dying(self) -> None:
        """The server is about to be killed."""
        with self._changed:
            self._url = ""
            self._changed.notify_all()

    def dead(self) -> None:
        """Nothing of the server is left."""
        with self._changed:
            self._deaths[self._life] = time.monotonic()
            self._changed.notify_all()
        self.note(f"server {self._life} is dead")

    def server(self) -> tuple[str, int]:
        """The address of the server that is up, and which it is; waits for it."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._url or self.over.is_set(), _START_SECONDS):
                raise Broken("there was no server for a minute")
            return self._url, self._life

    def death(self, life: int, error: Exception) -> Died:
        """What a connection that was lost means: the death of the server, or Broken is raised."""
        with self._changed:
            if not self._changed.wait_for(lambda: not self._url or self._life != life, _NOTICE_SECONDS):
                raise Broken(f"the server was up and gave no answer: {error!r}")
            if not self._changed.wait_for(lambda: life in self._deaths, _DEATH_SECONDS):
                raise Broken(f"the server does not die: {error!r}")
            return Died(self._deaths[life])

    def note(self, event: str) -> None:
        """Remember an event, and when it was, for whoever must find out what went wrong."""
        self._events.append(f"{time.monotonic():.6f} {event}")

    def fail(self, reason: str, about: str = "") -> None:
        """Something went wrong: everybody stops. The last events that name `about` are told with it."""
        self.note(f"FAILED: {reason}")
        events = [event for event in list(self._events) if not about or about in event]
        self.failures.append("\n    ".join([reason, *events[-_TOLD:]]))
        self.over.set()
        with self._changed:
            self._changed.notify_all()

    def write_events(self, file: Path) -> None:
        """Keep the last events."""
        file.write_text("\n".join(self._events) + "\n")
