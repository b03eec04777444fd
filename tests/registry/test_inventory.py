"""How much is stored is told soon or not at all, and counted anew in the background whatever happens."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from cargohold.registry import inventory
from cargohold.registry.inventory import Holder, Holdings, Recount
from cargohold.storage.memory import MemoryStore
from cargohold.storage.protocols import Room, Totals, Unavailable
from cargohold.storage.runs import Runs
from cargohold.types.quotas import Quota, QuotaUse

if TYPE_CHECKING:
    import pytest

ROOM = Room(5, 10)
QUOTA = Quota("team/*", 9)
RUNS = Runs(since=1.0, ended=2.0)
_OFTEN = 5


class Store(MemoryStore):
    """Answers when it is `awake`; its first `failures` calls fail. `often`: it was counted several times."""

    def __init__(self, failures: int = 0) -> None:
        super().__init__()
        self.awake = asyncio.Event()
        self.awake.set()
        self.often = asyncio.Event()
        self.asked = self.counted = 0
        self._failures = failures

    async def totals(self) -> Totals:
        self.asked += 1
        await self.awake.wait()
        if self.asked <= self._failures:
            raise Unavailable("the disk is away")
        return Totals(1, 2, 3, 4.0)

    async def room(self) -> Room:  # type: ignore[override] # a store in memory has none
        return ROOM

    async def runs(self) -> Runs:  # type: ignore[override] # a store in memory has none
        return RUNS

    async def recount(self, age: float) -> bool:
        assert age == 60
        self.counted += 1
        if self.counted <= self._failures:
            raise Unavailable("the disk is away")
        if self.counted == _OFTEN:
            self.often.set()
        return True


def test_what_is_held() -> None:
    """Totals, room and runs are those of the store, asked anew each time."""

    async def case() -> None:
        store = Store()
        holder = Holder(store)
        for times in (1, 2):
            assert await holder.holdings() == Holdings(Totals(1, 2, 3, 4.0), ROOM, RUNS)
            assert store.asked == times

    asyncio.run(case())


def test_a_store_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks waits for a moment, and is told nothing; the store is asked once however many do, until it answers."""
    monkeypatch.setattr(inventory, "PATIENCE_SECONDS", 0.05)

    async def case() -> None:
        store = Store()
        holder = Holder(store)
        store.awake.clear()
        for found in await asyncio.gather(*(holder.holdings() for _ in range(5))):
            assert found == Holdings()
        assert await holder.holdings() == Holdings()
        assert store.asked == 1
        store.awake.set()
        assert (await holder.holdings()).room == ROOM

    asyncio.run(case())


def test_a_store_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """What cannot be found out is not told; the log says why, and the next question is as good as the first."""

    async def case() -> None:
        holder = Holder(Store(failures=1))
        assert await holder.holdings() == Holdings()
        assert (await holder.holdings()).room == ROOM

    asyncio.run(case())
    assert "the disk is away" in caplog.text


class Counting(MemoryStore):
    """Its quotas are used by as many bytes as they were asked for; while it is `busy` it does not answer."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.busy = asyncio.Lock()

    async def quota_use(self) -> list[QuotaUse]:
        async with self.busy:
            self.asked += 1
            return [QuotaUse(QUOTA, self.asked)]


def test_quotas_that_are_being_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are told as they were, but not for ever; all else is told meanwhile; and they are counted once for all."""
    monkeypatch.setattr(inventory, "PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(inventory, "GOOD_SECONDS", 0.5)

    async def case() -> None:
        store = Counting()
        holder = Holder(store, asks_quotas=True)
        assert (await holder.holdings()).quotas == [QuotaUse(QUOTA, 1)]
        async with store.busy:
            for found in await asyncio.gather(*(holder.holdings() for _ in range(5))):
                assert found.quotas == [QuotaUse(QUOTA, 1)]
                assert found.totals is not None
            await asyncio.sleep(0.5)
            assert (await holder.holdings()).quotas == ()
        assert (await holder.holdings()).quotas[0].used == store.asked <= 3

    asyncio.run(case())


def test_quotas_that_nobody_asks_for() -> None:
    """Where there are no quotas, the store is not asked for their use."""

    async def case() -> None:
        store = Counting()
        assert (await Holder(store).holdings()).quotas == ()
        assert store.asked == 0

    asyncio.run(case())


def test_counting_goes_on(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """It begins at once, goes on after a failure, which the log tells of, and ends with `stop`."""
    monkeypatch.setattr(inventory, "LONGEST_PAUSE_SECONDS", 0.01)

    async def case() -> None:
        store = Store(failures=2)
        recount = Recount(store, 60)
        recount.stop()
        recount.start(asyncio.get_running_loop())
        await asyncio.wait_for(store.often.wait(), 20)
        recount.stop()
        await asyncio.sleep(0.05)
        counted = store.counted
        await asyncio.sleep(0.05)
        assert store.counted == counted

    with caplog.at_level(logging.INFO):
        asyncio.run(case())
    assert caplog.text.count("the count of what is stored could not be done") == 2
    assert "counted what is stored" in caplog.text
