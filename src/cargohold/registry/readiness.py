"""Whether requests can be sent to this process: it is not about to stop, and its storage can be used."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from cargohold.storage.protocols import Full, StoreError

if TYPE_CHECKING:
    from cargohold.storage.protocols import Store

FRESH_SECONDS: Final = 1.0
PATIENCE_SECONDS: Final = 5.0

STOPPING: Final = "the server is stopping"
SILENT: Final = "the storage does not answer"
FULL: Final = "the storage is full"
UNREADABLE: Final = "the storage cannot be read"
UNWRITABLE: Final = "the storage cannot be written to"

_log = logging.getLogger(__name__)


class Readiness:
    """Tries the storage when somebody asks, and says what is in the way.

    The storage is tried at most once in FRESH_SECONDS, and never twice at once: all who ask meanwhile share what comes
    of it. One that gives no answer for PATIENCE_SECONDS is no good. `writes` says whether it is to be written to.
    What is found is logged when it changes, with what the system said of it.
    """

    def __init__(self, store: Store, *, writes: bool) -> None:
        self._store = store
        self._writes = writes
        self._is_stopping = False
        self._trial: asyncio.Task[str | None] | None = None
        self._tried_at = 0.0
        self._said: str | None = None

    def leave(self) -> None:
        """The server has been told to stop."""
        self._is_stopping = True

    async def obstacle(self) -> str | None:
        """Why requests had better be sent elsewhere, in words for everyone; None where nothing is in the way."""
        found = None if self._is_stopping else await self._of_storage()
        return STOPPING if self._is_stopping else found

    async def _of_storage(self) -> str | None:
        now = asyncio.get_running_loop().time()
        trial = self._trial
        if trial is None or (trial.done() and now - self._tried_at >= FRESH_SECONDS):
            trial = self._trial = asyncio.create_task(self._try())
            self._tried_at = now
        if not trial.done():
            await asyncio.wait({trial}, timeout=max(0.0, self._tried_at + PATIENCE_SECONDS - now))
        if trial.done():
            return trial.result()
        self._tell(SILENT)
        return SILENT

    async def _try(self) -> str | None:
        found, detail = None, ""
        try:
            await self._store.try_reading()
        except StoreError as error:
            found, detail = UNREADABLE, f": {error}"
        if found is None and self._writes:
            try:
                await self._store.try_writing()
            except StoreError as error:
                found, detail = FULL if isinstance(error, Full) else UNWRITABLE, f": {error}"
        self._tell(found, detail)
        return found

    def _tell(self, found: str | None, detail: str = "") -> None:
        if found == self._said:
            return
        self._said = found
        if found is None:
            _log.warning("ready again: the storage can be used")
        else:
            _log.error("not ready: %s%s", found, detail)
