"""What a server takes while a load runs."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Self

from benchmarks.processes import pss

if TYPE_CHECKING:
    from benchmarks.processes import Server

SAMPLE_SECONDS = 0.5


class Meter:
    """For `with`: afterwards `cpu` is the server's processor time in seconds, `memory` the most bytes that it had.

    Both are of all its processes. Memory is the sum of their PSS, looked at once in SAMPLE_SECONDS, at the beginning
    and at the end: a peak between two looks is not seen. All that was written before is synced first, so that nobody
    waits for the bytes of one that was measured before and left that to the system.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.cpu = 0.0
        self.memory = 0

    def __enter__(self) -> Self:
        os.sync()
        self._look()
        self._thread.start()
        self.cpu = -self._server.cpu_seconds()
        return self

    def __exit__(self, *_: object) -> None:
        self.cpu += self._server.cpu_seconds()
        self._ended.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._ended.wait(SAMPLE_SECONDS):
            self._look()

    def _look(self) -> None:
        try:
            self.memory = max(self.memory, pss(self._server.pids()))
        except (FileNotFoundError, ProcessLookupError):
            return  # a process ended between the list and the look; the next look counts those that are left
