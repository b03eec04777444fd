"""How much is stored: asked of a store that may hang, and counted anew now and then in the background."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, NamedTuple

from cargohold.registry.rounds import Rounds
from cargohold.storage.protocols import StoreError

if TYPE_CHECKING:
    from cargohold.storage.protocols import Inventory, Room, Totals
    from cargohold.storage.runs import Runs

PATIENCE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 60.0
"""After which it is looked again whether to count: another process may have died in the midst of it."""

_log = logging.getLogger(__name__)


class Holdings(NamedTuple):
    """What is known of a store; None stands for what is not known, or could not be found out in time."""

    totals: Totals | None = None
    room: Room | None = None
    runs: Runs | None = None


class Holder:
    """Asks a store what it holds, once at a time, and waits no longer than PATIENCE_SECONDS."""

    def __init__(self, store: Inventory) -> None:
        self._store = store
        self._asked: asyncio.Task[Holdings] | None = None

    async def holdings(self) -> Holdings:
        """As they are now. Never raises: a disk that fails is told of by what is missing, and by whoever needs it."""
        if self._asked is None or self._asked.done():
            self._asked = asyncio.create_task(self._ask())
        asked = self._asked
        await asyncio.wait({asked}, timeout=PATIENCE_SECONDS)
        return asked.result() if asked.done() else Holdings()

    async def _ask(self) -> Holdings:
        try:
            return Holdings(await self._store.totals(), await self._store.room(), await self._store.runs())
        except StoreError as error:
            _log.warning("how much is stored cannot be told: %s", error)
            return Holdings()


class Recount(Rounds):
    """Has what is stored counted every `period` seconds, the first time at once where that was never done."""

    def __init__(self, store: Inventory, period: float) -> None:
        super().__init__(LONGEST_PAUSE_SECONDS, at_once=True, purpose="the count of what is stored")
        self._store = store
        self._period = period

    async def _round(self) -> None:
        if await self._store.recount(self._period):
            _log.info("counted what is stored")
