"""Bodies in memory: within a budget, within a time, whatever becomes of them."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from cargohold.routes.bodies import FREE_BYTES, Bodies
from cargohold.types.errors import BodyTimeout, SizeInvalid, TooLarge, Unavailable
from tests.routes.caller import Pieces, request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cargohold.messages import Request

LIMIT = 4 * FREE_BYTES
PIECE = b"x" * 10_000


class Slow(Pieces):
    """A body of which something comes all the time, for ever as far as tests go."""

    def __init__(self) -> None:
        super().__init__([b"x"] * 1000)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in super().__aiter__():
            await asyncio.sleep(0.01)
            yield piece


def sending(size: int, error: Exception | None = None) -> Request:
    """A push of so many bytes, of no announced length, which may break off."""
    pieces = [PIECE] * (size // len(PIECE)) + [b"x" * (size % len(PIECE))]
    return request("PUT", "/v2/app/manifests/v1", body=Pieces(pieces, error))


async def size_of(bodies: Bodies, asked: Request) -> int:
    async with bodies.whole(asked) as content:
        return len(content)


def test_a_body_is_whole() -> None:
    """It is the bytes that were sent, of any length up to the limit, which is let in by itself at least."""

    async def case() -> None:
        for budget in (0, LIMIT, 10 * LIMIT):
            bodies = Bodies(LIMIT, budget=budget)
            for size in (0, 1, FREE_BYTES, LIMIT):
                async with bodies.whole(sending(size)) as content:
                    assert content == b"x" * size
            with pytest.raises(TooLarge):
                await size_of(bodies, sending(LIMIT + 1))

    asyncio.run(case())


def test_bodies_that_are_held_share_a_budget() -> None:
    """What goes beyond 64 KiB counts while it is held; where it is used up the next is 503, with Retry-After."""

    async def case() -> None:
        bodies = Bodies(LIMIT, budget=2 * (LIMIT - FREE_BYTES))
        async with AsyncExitStack() as held:
            for _ in range(2):
                await held.enter_async_context(bodies.whole(sending(LIMIT)))
            for _ in range(100):
                await held.enter_async_context(bodies.whole(sending(FREE_BYTES)))
            with pytest.raises(Unavailable) as refused:
                await size_of(bodies, sending(FREE_BYTES + 1))
            assert (refused.value.status, dict(refused.value.headers)) == (503, {"retry-after": "5"})
        for _ in range(3):
            assert await size_of(bodies, sending(LIMIT)) == LIMIT

    asyncio.run(case())


@pytest.mark.parametrize("error", [SizeInvalid(), BodyTimeout(), asyncio.CancelledError()])
def test_a_body_that_fails_gives_back_what_it_took(error: Exception) -> None:
    """One that breaks off, stalls, is too long or is refused later leaves the budget as it was."""

    async def case() -> None:
        bodies = Bodies(LIMIT, budget=LIMIT)
        for _ in range(5):
            with pytest.raises(type(error)):
                await size_of(bodies, sending(LIMIT, error))
            with pytest.raises(TooLarge):
                await size_of(bodies, sending(LIMIT + 1))
            with pytest.raises(KeyError):
                async with bodies.whole(sending(LIMIT)):
                    raise KeyError
        assert await size_of(bodies, sending(LIMIT)) == LIMIT

    asyncio.run(case())


def test_what_is_refused_is_not_read_on() -> None:
    """A body that finds the budget used up is left to the server at once: the rest takes no memory."""

    async def case() -> None:
        bodies = Bodies(LIMIT, budget=0)
        async with bodies.whole(sending(LIMIT)):
            asked = sending(LIMIT)
            with pytest.raises(Unavailable):
                await size_of(bodies, asked)
            assert isinstance(asked.body, Pieces)
            assert len(asked.body.pieces) >= (LIMIT - FREE_BYTES) // len(PIECE) - 1

    asyncio.run(case())


def test_a_body_must_come_to_its_end() -> None:
    """One of which something always comes, but which takes too long as a whole, is 408."""
    asked = request("PUT", "/v2/app/manifests/v1", body=Slow())
    with pytest.raises(BodyTimeout, match=r"longer than 0\.2 seconds"):
        asyncio.run(size_of(Bodies(LIMIT, seconds=0.2), asked))
    assert isinstance(asked.body, Pieces)
    assert asked.body.pieces
