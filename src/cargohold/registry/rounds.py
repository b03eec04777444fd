"""What is done again and again in the background of a process."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod

_log = logging.getLogger(__name__)


class Rounds(ABC):
    """Work that comes round every `pause` seconds, the first time at once or after a pause, however often it fails.

    Every process may run the same: among all that use a store, the store lets one at a time do the work. `purpose` is
    what the log says could not be done.
    """

    def __init__(self, pause: float, *, at_once: bool, purpose: str) -> None:
        self._pause = pause
        self._at_once = at_once
        self._purpose = purpose
        self._task: asyncio.Task[None] | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin, on a loop that runs or is about to."""
        self._task = loop.create_task(self._run())

    def stop(self) -> None:
        """End; what is under way in a thread comes to its end there, or is broken off when the store is closed."""
        if self._task is not None:
            self._task.cancel()

    @abstractmethod
    async def _round(self) -> None:
        """Do the work once."""

    async def _run(self) -> None:
        if not self._at_once:
            await asyncio.sleep(self._pause)
        while True:
            try:
                await self._round()
            except Exception:  # noqa: BLE001 - whatever it was, the next round may succeed
                _log.exception("%s could not be done", self._purpose)
            await asyncio.sleep(self._pause)
