"""How much memory a server takes, all its processes together, while something goes on."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from tests.e2e.server import Server

MIB = 1 << 20
_EVERY_SECONDS = 0.05


def proportional_bytes(server: Server) -> int:
    """The proportional set size of all processes: what they share is counted once."""
    total = 0
    for pid in {server.process.pid, *server.workers()}:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        found = re.search(r"^Pss: +(\d+) kB$", rollup, re.MULTILINE)
        assert found is not None, rollup
        total += int(found[1]) * 1024
    return total


class Watch:
    """Samples a server's memory as long as it is entered; `peak` is the most it has seen, in bytes."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self.peak = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self.peak = max(self.peak, proportional_bytes(self._server))

    def _sample(self) -> None:
        while not self._ended.wait(_EVERY_SECONDS):
            self.peak = max(self.peak, proportional_bytes(self._server))
