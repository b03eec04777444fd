"""Work that is done once for all who want it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from cargohold.storage.protocols import Unavailable
from cargohold.storage.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


class Counted:
    """Work that ends when it is told to, and gives the number of its run."""

    def __init__(self) -> None:
        self.runs = 0
        self.at_once = 0
        self.gate = asyncio.Event()

    async def __call__(self) -> int:
        self.runs += 1
        self.at_once += 1
        assert self.at_once == 1
        number = self.runs
        await self.gate.wait()
        self.at_once -= 1
        return number


def run(test: Callable[[Turns, Counted], Coroutine[None, None, None]]) -> None:
    async def running() -> None:
        await test(Turns(), Counted())

    asyncio.run(running())


def test_shares_a_run_that_began_later() -> None:
    """Those who come while a run goes on share the next: its beginning is after their call, and it is one."""

    async def test(turns: Turns, work: Counted) -> None:
        first = asyncio.ensure_future(turns.result("key", work, 10))
        await asyncio.sleep(0)
        later = [asyncio.ensure_future(turns.result("key", work, 10)) for _ in range(5)]
        await asyncio.sleep(0.01)
        work.gate.set()
        assert await first == 1
        assert await asyncio.gather(*later) == [2] * 5
        assert await turns.result("key", work, 10) == 3

    run(test)


def test_keys_do_not_wait_for_each_other() -> None:
    """Work of another key goes on at the same time."""

    async def test(turns: Turns, work: Counted) -> None:
        first = asyncio.ensure_future(turns.result("key", work, 10))
        await asyncio.sleep(0)
        other = Counted()
        other.gate.set()
        assert await turns.result("other", other, 10) == 1
        work.gate.set()
        assert await first == 1

    run(test)


def test_patience_ends() -> None:
    """Who has waited long enough is told so, and the work goes on."""

    async def test(turns: Turns, work: Counted) -> None:
        with pytest.raises(Unavailable):
            await turns.result("key", work, 0.01)
        with pytest.raises(Unavailable):
            await turns.result("key", work, 0.01)
        work.gate.set()
        assert await turns.result("key", work, 10) == 2

    run(test)


def test_errors_reach_all_who_wait() -> None:
    """An error is raised to everyone who waits for the run; the next run is a new one."""

    async def test(turns: Turns, _work: Counted) -> None:
        fails = True

        async def work() -> str:
            await asyncio.sleep(0.01)
            if fails:
                raise OSError("broken")
            return "done"

        waiting = [asyncio.ensure_future(turns.result("key", work, 10)) for _ in range(3)]
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(each, OSError) for each in results)
        fails = False
        assert await turns.result("key", work, 10) == "done"

    run(test)
