"""Upload sessions that nobody goes on with, ended in the background."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cargohold.storage.protocols import UploadStore

_LONGEST_PAUSE = 900.0

_log = logging.getLogger(__name__)


class Expiry:
    """Ends the sessions that have not grown for `timeout` seconds, within a quarter of that again.

    Every process may run one: among all that use a store, one at a time does the work.
    """

    def __init__(self, store: UploadStore, timeout: float) -> None:
        self._store = store
        self._timeout = timeout
        self._task: asyncio.Task[None] | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin, on a loop that runs or is about to."""
        self._task = loop.create_task(self._run())

    def stop(self) -> None:
        """End; what is under way in a thread comes to its end there."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(min(self._timeout / 4, _LONGEST_PAUSE))
            try:
                expired = await self._store.expire_uploads(self._timeout)
            except Exception:  # noqa: BLE001 - whatever it was, the next round may succeed
                _log.exception("idle upload sessions could not be removed")
                continue
            if expired:
                _log.info("removed %d idle upload sessions", expired)
