"""Work that one call does for many who ask for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from cargohold.storage.batches import Batches
from cargohold.storage.locks import Busy

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

MOST = 3


class Doubling:
    """Doubles numbers, when it is told to, and refuses odd ones; a 0 that comes alone it doubles soon."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[int]]] = []
        self.gate = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self, key: str, asked: list[int]) -> list[int | Exception]:
        self.calls.append((key, asked))
        if asked == [0]:
            await asyncio.sleep(0)
            return [0]
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return [ValueError(number) if number % 2 else 2 * number for number in asked]


def run(test: Callable[[Batches[str, int, int], Doubling], Coroutine[None, None, None]]) -> None:
    async def running() -> None:
        work = Doubling()
        await test(Batches(work, MOST), work)

    asyncio.run(running())


async def asked(batches: Batches[str, int, int], *numbers: int) -> list[asyncio.Task[int]]:
    """Who has asked for each of them while a call for a 0 was under way: they go together, as many as may."""
    _, *tasks = await begun(batches, 0, *numbers)
    return tasks


async def begun(batches: Batches[str, int, int], *numbers: int, key: str = "key") -> list[asyncio.Task[int]]:
    """Who has asked for each of them, and waits."""
    tasks = [asyncio.create_task(batches.result(key, number)) for number in numbers]
    for _ in range(5):
        await asyncio.sleep(0)
    return tasks


def test_who_comes_meanwhile_goes_along() -> None:
    """All who ask while a call is under way are in the next, no more of them than are allowed, in their order."""

    async def test(batches: Batches[str, int, int], work: Doubling) -> None:
        tasks = await begun(batches, 2)
        tasks += await begun(batches, 4, 6, 8, 10)
        assert work.calls == [("key", [2])]
        work.gate.set()
        assert await asyncio.gather(*tasks) == [4, 8, 12, 16, 20]
        assert work.calls == [("key", [2]), ("key", [4, 6, 8]), ("key", [10])]
        assert await batches.result("key", 12) == 24

    run(test)


def test_who_asks_again_at_once() -> None:
    """One who asks as soon as he has his answer is answered, every time."""

    async def test(batches: Batches[str, int, int], work: Doubling) -> None:
        work.gate.set()
        for number in range(0, 100, 2):
            assert await batches.result("key", number) == 2 * number
        assert len(work.calls) == 50

    run(test)


def test_keys_do_not_wait_for_each_other() -> None:
    """What is asked for under another key begins at once."""

    async def test(batches: Batches[str, int, int], work: Doubling) -> None:
        tasks = [*await begun(batches, 2, key="one"), *await begun(batches, 4, key="other")]
        assert work.calls == [("one", [2]), ("other", [4])]
        work.gate.set()
        assert await asyncio.gather(*tasks) == [4, 8]

    run(test)


def test_each_has_its_own_error() -> None:
    """An error that is one's result is raised to that one alone."""

    async def test(batches: Batches[str, int, int], work: Doubling) -> None:
        tasks = await asked(batches, 2, 3, 4)
        work.gate.set()
        first, second, third = await asyncio.gather(*tasks, return_exceptions=True)
        assert (first, third) == (4, 8)
        assert isinstance(second, ValueError)

    run(test)


def test_a_failure_is_told_to_all() -> None:
    """What the call raises is raised to all for whom it was made, and the next is made as if nothing had been."""

    async def test(batches: Batches[str, int, int], work: Doubling) -> None:
        tasks = await asked(batches, 2, 4)
        work.error = OSError("broken")
        work.gate.set()
        assert await asyncio.gather(*tasks, return_exceptions=True) == [work.error] * 2
        assert work.calls == [("key", [0]), ("key", [2, 4])]
        work.error = None
        assert await batches.result("key", 2) == 4

    run(test)


def test_who_goes_away_keeps_nobody_waiting() -> None:
    """One who is cancelled when the work has begun is so when it has ended, and the others have their answers."""

    async def test(batches: Batches[str, int, int], work: Doubling) -> None:
        one, other = await asked(batches, 2, 4)
        for _ in range(3):
            one.cancel()
            await asyncio.sleep(0)
        assert not one.done()
        work.gate.set()
        assert await other == 8
        with pytest.raises(asyncio.CancelledError):
            await one
        assert work.calls == [("key", [0]), ("key", [2, 4])]

    run(test)


def test_the_first_goes_away() -> None:
    """One who made a call for himself alone, and is cancelled in it, keeps nobody waiting either."""

    async def test(batches: Batches[str, int, int], work: Doubling) -> None:
        first, *others = await begun(batches, 2, 4, 6)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        work.gate.set()
        assert await asyncio.gather(*others) == [8, 12]
        assert work.calls == [("key", [2]), ("key", [4, 6])]

    run(test)


def test_who_went_away_before_has_asked_for_nothing() -> None:
    """What was asked for by one who is gone when its call begins is not done; nor is a call made for him alone."""

    async def test(batches: Batches[str, int, int], work: Doubling) -> None:
        tasks = [*await begun(batches, 2), *await begun(batches, 4, 6, 8, 10)]
        for task in (tasks[1], tasks[4]):
            task.cancel()
        await asyncio.sleep(0)
        work.gate.set()
        assert await asyncio.gather(tasks[0], *tasks[2:4]) == [4, 12, 16]
        assert work.calls == [("key", [2]), ("key", [6, 8])]
        assert await batches.result("key", 12) == 24
        assert work.calls[2:] == [("key", [12])]

    run(test)


def test_a_lock_that_is_not_to_be_had() -> None:
    """Who waits behind those who waited for a lock in vain is told at once; who comes later is tried for."""

    async def test(batches: Batches[str, int, int], work: Doubling) -> None:
        tasks = [
            *await begun(batches, 2),
            *await begun(batches, 4, 6, 8, 10),
            *await begun(batches, 2, key="other"),
        ]
        work.error = Busy("held")
        work.gate.set()
        assert await asyncio.gather(*tasks, return_exceptions=True) == [work.error] * 6
        assert work.calls == [("key", [2]), ("other", [2])]
        work.error = None
        assert await batches.result("key", 12) == 24

    run(test)


def test_a_loop_that_ends_before_it_began() -> None:
    """One that is cancelled before its first step leaves nothing behind that would keep others waiting."""
    work = Doubling()
    batches: Batches[str, int, int] = Batches(work, MOST)

    async def ask(number: int) -> int:
        async with asyncio.timeout(10):
            return await batches.result("key", number)

    async def end() -> None:
        first, second = asyncio.create_task(ask(2)), asyncio.create_task(ask(4))
        await asyncio.sleep(0)
        work.gate.set()
        asyncio.get_running_loop().call_soon(lambda: [task.cancel() for task in batches._running])
        assert await first == 4
        with pytest.raises(asyncio.CancelledError):
            await second

    asyncio.run(end())
    assert work.calls == [("key", [2])]
    assert asyncio.run(ask(6)) == 12


def test_the_end() -> None:
    """Where the loop ends all who wait are cancelled with the work."""

    async def test(batches: Batches[str, int, int], work: Doubling) -> None:
        others = [*await asked(batches, 2), *await begun(batches, 4)]
        (running,) = batches._running
        running.cancel()
        for task in others:
            with pytest.raises(asyncio.CancelledError):
                await task
        assert await batches_are_free(batches, work)

    run(test)


async def batches_are_free(batches: Batches[str, int, int], work: Doubling) -> bool:
    work.gate.set()
    return await batches.result("key", 6) == 12


def test_the_end_of_all() -> None:
    """A loop that ends in the middle of a call, with others who wait for it, leaves nothing behind."""
    work = Doubling()
    batches: Batches[str, int, int] = Batches(work, MOST)

    async def end() -> None:
        await begun(batches, 2, 4, 6)

    asyncio.run(end())
    assert work.calls[0] == ("key", [2])

    async def ask() -> bool:
        return await batches_are_free(batches, work)

    assert asyncio.run(ask())
