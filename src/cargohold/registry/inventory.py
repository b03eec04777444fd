"""How much is stored: asked of a store that may hang, and counted anew now and then in the background."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar

from cargohold.registry.rounds import Rounds
from cargohold.storage.protocols import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from cargohold.storage.inventory import Inventory
    from cargohold.storage.protocols import Room, Totals
    from cargohold.storage.runs import Runs
    from cargohold.types.quotas import QuotaUse

T = TypeVar("T")

PATIENCE_SECONDS: Final = 1.0
GOOD_SECONDS: Final = 600.0
"""For how long the use of quotas is told as it was, while it is being counted anew."""
LONGEST_PAUSE_SECONDS: Final = 60.0
"""After which it is looked again whether to count: another process may have died in the midst of it."""

_log = logging.getLogger(__name__)


class Holdings(NamedTuple):
    """What is known of a store; None stands for what is not known, or could not be found out in time."""

    totals: Totals | None = None
    room: Room | None = None
    runs: Runs | None = None
    quotas: Sequence[QuotaUse] = ()


class Holder:
    """Asks a store what it holds, once at a time, and waits no longer than PATIENCE_SECONDS.

    It asks for the use of quotas only if it `asks_quotas`: what is counted anew may be told as it was GOOD_SECONDS ago.
    """

    def __init__(self, store: Inventory, *, asks_quotas: bool = False) -> None:
        self._store = store
        self._held = _Question(self._ask, Holdings(), "how much is stored")
        none: Sequence[QuotaUse] = ()
        self._quotas = _Question(store.quota_use, none, "the use of quotas", good=GOOD_SECONDS)
        self._asks_quotas = asks_quotas

    async def holdings(self) -> Holdings:
        """As they are now. Never raises: a disk that fails is told of by what is missing, and by whoever needs it."""
        if not self._asks_quotas:
            return await self._held.answer()
        held, quotas = await asyncio.gather(self._held.answer(), self._quotas.answer())
        return held._replace(quotas=quotas)

    async def _ask(self) -> Holdings:
        return Holdings(await self._store.totals(), await self._store.room(), await self._store.runs())


class _Question(Generic[T]):
    """What a store is asked again and again; where it gives no answer in time, the last one is `good` for so long.

    After that it is what stands for `unknown`. `about` is what the log says cannot be told.
    """

    def __init__(
        self, ask: Callable[[], Coroutine[object, object, T]], unknown: T, about: str, *, good: float = 0.0
    ) -> None:
        self._ask, self._unknown, self._about, self._good = ask, unknown, about, good
        self._last, self._answered = unknown, -math.inf
        self._asked: asyncio.Task[None] | None = None

    async def answer(self) -> T:
        """Never raises."""
        if self._asked is None or self._asked.done():
            self._asked = asyncio.create_task(self._put())
        await asyncio.wait({self._asked}, timeout=PATIENCE_SECONDS)
        is_good = self._asked.done() or time.monotonic() - self._answered < self._good
        return self._last if is_good else self._unknown

    async def _put(self) -> None:
        try:
            self._last = await self._ask()
        except StoreError as error:
            _log.warning("%s cannot be told: %s", self._about, error)
            self._last = self._unknown
        self._answered = time.monotonic()


class Recount(Rounds):
    """Has what is stored counted every `period` seconds, the first time at once where that was never done."""

    def __init__(self, store: Inventory, period: float) -> None:
        super().__init__(LONGEST_PAUSE_SECONDS, at_once=True, purpose="the count of what is stored")
        self._store = store
        self._period = period

    async def _round(self) -> None:
        if await self._store.recount(self._period):
            _log.info("counted what is stored")
