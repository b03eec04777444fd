"""Turns at what is slow: who asks for much waits, and holds up nobody else."""

from __future__ import annotations

import asyncio

import pytest

from cargohold.auth.turns import AT_ONCE, WAITING, Turns
from cargohold.types.errors import TooManyRequests


class Slow:
    """Something slow that clients take turns at; who has their turn is noted, and goes on when told to."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.begun: list[str] = []
        self.go_on = asyncio.Semaphore(0)

    async def ask(self, client: str) -> None:
        async with self.turns.of(client):
            self.begun.append(client)
            await self.go_on.acquire()

    async def asked(self, *clients: str) -> list[asyncio.Task[None]]:
        """Let all of them ask, in this order, and see who gets a turn."""
        tasks = [asyncio.create_task(self.ask(client)) for client in clients]
        await self.settle()
        return tasks

    async def settle(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)

    async def end(self, tasks: list[asyncio.Task[None]]) -> None:
        for _ in tasks:
            self.go_on.release()
        await asyncio.wait_for(asyncio.gather(*tasks), 10)
        assert not self.turns._lines


def test_two_of_a_network_have_their_turn() -> None:
    """The others wait, in the order of their coming; a network that comes later has its turns at once."""

    async def run() -> None:
        slow = Slow()
        tasks = await slow.asked(*["192.0.2.1"] * 5, "192.0.2.2")
        assert slow.begun == ["192.0.2.1"] * AT_ONCE + ["192.0.2.2"]
        slow.go_on.release()
        await slow.settle()
        assert slow.begun == ["192.0.2.1"] * AT_ONCE + ["192.0.2.2", "192.0.2.1"]
        await slow.end(tasks[1:])

    asyncio.run(run())


def test_what_a_network_is() -> None:
    """IPv6 goes by 48 bits, which one site has to choose from; an IPv4 address by itself, however it is written."""

    async def run() -> None:
        slow = Slow()
        one = [f"2001:db8:0:{number:x}::{number}" for number in range(5)]
        other = ["192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1"]
        tasks = await slow.asked(*one, "2001:db8:1::1", *other, "", "", "")
        assert slow.begun == [*one[:2], "2001:db8:1::1", *other[:2], "", ""]
        await slow.end(tasks)

    asyncio.run(run())


def test_the_line_is_bounded() -> None:
    """One more than may wait is told to come again, and only of its own network."""

    async def run() -> None:
        slow = Slow()
        tasks = await slow.asked(*["192.0.2.1"] * (AT_ONCE + WAITING))
        with pytest.raises(TooManyRequests) as refused:
            await slow.ask("192.0.2.1")
        assert refused.value.headers == [("retry-after", "1")]
        tasks += await slow.asked("192.0.2.2")
        assert slow.begun[-1] == "192.0.2.2"
        await slow.end(tasks)

    asyncio.run(run())


def test_who_goes_away_leaves_the_turn_to_the_next() -> None:
    """Whether they waited or had their turn, and when what is slow fails, nobody waits for them."""

    async def run() -> None:
        slow = Slow()
        tasks = await slow.asked(*["192.0.2.1"] * 5)
        for gone in (tasks[0], tasks[2]):
            gone.cancel()
        await slow.settle()
        assert len(slow.begun) == AT_ONCE + 1
        await slow.end([tasks[1], *tasks[3:]])
        with pytest.raises(ValueError, match="slow"):
            async with slow.turns.of("192.0.2.1"):
                raise ValueError("slow")
        assert not slow.turns._lines

    asyncio.run(run())
