"""Upload sessions that nobody goes on with, ended in the background."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from cargohold.registry.rounds import Rounds

if TYPE_CHECKING:
    from cargohold.storage.protocols import UploadStore

_LONGEST_PAUSE = 900.0

_log = logging.getLogger(__name__)


class Expiry(Rounds):
    """Ends the sessions that have not grown for `timeout` seconds, within a quarter of that again."""

    def __init__(self, store: UploadStore, timeout: float) -> None:
        super().__init__(
            min(timeout / 4, _LONGEST_PAUSE), at_once=False, purpose="the removal of idle upload sessions"
        )
        self._store = store
        self._timeout = timeout

    async def _round(self) -> None:
        expired = await self._store.expire_uploads(self._timeout)
        if expired:
            _log.info("removed %d idle upload sessions", expired)
