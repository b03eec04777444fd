"""What no name leads to any more, removed from the disk while nobody waits for the disk.

One that is mounted with `discard` is told of each block that is freed, and may sync nothing until it has dealt with
that: what takes a push 50 microseconds takes 2 milliseconds beside a removal.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_MOST: Final = 8_192
_MANY: Final = _MOST // 2
_MANY_BYTES: Final = 16 << 20
_QUIET_SECONDS: Final = 0.1
_BURST_SECONDS: Final = 0.1
_CLOSING_SECONDS: Final = 1.0

_log = logging.getLogger(__name__)


class Removals:
    """Calls `remove` with one path after another in a thread of its own; for any number of threads.

    It waits until the folder that they lie in has stayed as it is for a tenth of a second, since whoever pushes or
    deletes, in any process, makes his files there; and then looks again ten times a second. When more than half of the
    8,192 for which there is room are waiting, or more than 16 MiB, it waits no more. What is not removed when the
    process ends stays, for whoever removes what is forgotten.
    """

    def __init__(self, remove: Callable[[str], None]) -> None:
        self._remove = remove
        self._lock = threading.Lock()
        self._waiting = deque[tuple[str, int]]()
        self._bytes = 0
        self._run: Future[None] | None = None
        self._is_closing = threading.Event()
        self._thread = ThreadPoolExecutor(1, "removal")

    def later(self, path: str, size: int = 0) -> None:
        """As `now`, when there is time; at once, where more than 8,192 are waiting. What is large tells its bytes."""
        with self._lock:
            is_full = len(self._waiting) >= _MOST
            if not is_full:
                self._waiting.append((path, size))
                self._bytes += size
                if self._run is None:
                    self._run = self._thread.submit(self._work)
        if is_full:
            self.now(path)

    def now(self, path: str) -> None:
        """Remove a file or a folder, in the caller's thread. What is in the way is told in the log."""
        try:
            self._remove(path)
        except OSError as error:
            _log.warning("%s cannot be removed: %s", path, error)

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._run = None
                    return
                folder = os.path.dirname(self._waiting[0][0])
            self._rest(folder)
            end = monotonic() + _BURST_SECONDS
            while monotonic() < end and (path := self._next()):
                self.now(path)

    def _rest(self, folder: str) -> None:
        """Until nobody else changes the folder, or too much waits."""
        before = _time_of(folder)
        while not self._is_much() and not self._is_closing.wait(_QUIET_SECONDS):
            now = _time_of(folder)
            if now == before:
                return
            before = now

    def _is_much(self) -> bool:
        return len(self._waiting) > _MANY or self._bytes > _MANY_BYTES

    def _next(self) -> str:
        """Empty where none is waiting."""
        with self._lock, suppress(IndexError):
            path, size = self._waiting.popleft()
            self._bytes -= size
            return path
        return ""

    def close(self) -> None:
        """Go on for a second at most, and end the thread."""
        self._is_closing.set()
        with self._lock:
            run = self._run
        if run is not None:
            wait((run,), _CLOSING_SECONDS)
        with self._lock:
            self._waiting.clear()
            self._bytes = 0
        self._thread.shutdown()
        self._is_closing.clear()
        self._thread = ThreadPoolExecutor(1, "removal")


def _time_of(folder: str) -> int:
    """When names were made or removed there last; 0 where that is not to be had."""
    try:
        return os.stat(folder).st_mtime_ns
    except OSError:
        return 0
