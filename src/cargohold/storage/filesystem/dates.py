"""When upload sessions began, as Distribution writes it down beside each: many share the file of a second."""

from __future__ import annotations

import time
import uuid
from threading import Lock
from typing import TYPE_CHECKING

from cargohold.storage.durable import replace_unsynced, write_unsynced

if TYPE_CHECKING:
    from cargohold.storage.durable import Disk


class Dates:
    """Puts down the present time as one more name of the file that has it, where the file system has such names.

    To make a file and to remove it takes a disk as long as all else that a session needs. Nobody writes into such a
    file again, and one that is left in the folder `aside` is removed with all that is forgotten there. To be used
    after the fork, by any thread.
    """

    def __init__(self, disk: Disk, aside: str) -> None:
        self._disk = disk
        self._aside = aside
        self._lock = Lock()
        self._text = self._path = ""

    def put(self, path: str) -> None:
        """Make a file of the present time, in UTC. Not made durable. Raises OSError."""
        text = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        with self._lock:
            if text != self._text:
                self._begin(text)
            shared = self._path
        if not self._disk.link(shared, path):
            write_unsynced(path, text.encode())

    def _begin(self, text: str) -> None:
        """The sessions that share the one before keep it."""
        before, self._path, self._text = self._path, f"{self._aside}/{uuid.uuid4().hex}.date", ""
        if before:
            self._disk.removals.later(before)
        replace_unsynced(self._path, text.encode())
        self._text = text

    def close(self) -> None:
        """Leave nothing."""
        with self._lock:
            if self._path:
                self._disk.removals.later(self._path)
            self._text = self._path = ""
