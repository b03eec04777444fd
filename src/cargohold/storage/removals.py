"""What no name leads to any more, removed from the disk while nobody waits for it."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_MOST: Final = 4_096
_CLOSING_SECONDS: Final = 1.0

_log = logging.getLogger(__name__)


class Removals:
    """Calls `remove` with one path after another, most in a thread of its own; for any number of threads.

    What is not removed when the process ends stays, for whoever removes what is forgotten.
    """

    def __init__(self, remove: Callable[[str], None]) -> None:
        self._remove = remove
        self._room = threading.BoundedSemaphore(_MOST)
        self._thread = ThreadPoolExecutor(1, "removal")

    def later(self, path: str) -> None:
        """As `now`, when there is time; at once, where more than 4,096 are waiting."""
        if self._room.acquire(blocking=False):
            self._thread.submit(self.now, path).add_done_callback(lambda _: self._room.release())
        else:
            self.now(path)

    def now(self, path: str) -> None:
        """Remove a file or a folder, in the caller's thread. What is in the way is told in the log."""
        try:
            self._remove(path)
        except OSError as error:
            _log.warning("%s cannot be removed: %s", path, error)

    def close(self) -> None:
        """Go on for a second at most, and end the thread."""
        wait((self._thread.submit(lambda: None),), _CLOSING_SECONDS)
        self._thread.shutdown(cancel_futures=True)
        self._thread = ThreadPoolExecutor(1, "removal")
