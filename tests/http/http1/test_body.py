"""Bodies as a connection feeds them: one piece at a time, whole or not at all."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import pytest

from cargohold.http.http1.body import Http1Body
from cargohold.types.errors import BodyTimeout, SizeInvalid

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cargohold.http.http1.connection import Connection


class Feeder:
    """What a body asks of its connection, noted."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.reads_ahead = True

    def new_future(self) -> asyncio.Future[None]:
        return asyncio.get_running_loop().create_future()

    def give_leave(self) -> None:
        self.asked.append("leave")

    def resume(self) -> None:
        self.asked.append("resume")


def reading(
    try_it: Callable[[Http1Body, Feeder], Awaitable[None]],
    length: int | None,
    *,
    expects: bool = False,
    stall: float = 5.0,
) -> None:
    """Try something with a body, on a loop."""

    async def run() -> None:
        feeder = Feeder()
        body = Http1Body(cast("Connection", feeder), length, stall, expects=expects)
        async with asyncio.timeout(10):
            await try_it(body, feeder)

    asyncio.run(run())


def feed(body: Http1Body, data: bytes) -> int:
    return body.feed(data, len(data))


def test_pieces_that_wait_are_one() -> None:
    """What comes while nobody reads is one piece, and who reads it has the connection read on."""

    async def try_it(body: Http1Body, feeder: Feeder) -> None:
        assert not body.is_full
        assert (feed(body, b"ab"), feed(body, b"cdrest")) == (2, 2)
        assert body.is_full
        assert body.is_whole
        assert [piece async for piece in body] == [b"abcd"]
        assert (body.ended, body.received) == (True, 4)
        assert feeder.asked == ["resume"]

    reading(try_it, 4)


def test_many_bodies_are_not_read_ahead() -> None:
    """Where there is no room for what comes while the reader is busy, it is read when he comes for it."""

    async def try_it(body: Http1Body, feeder: Feeder) -> None:
        feeder.reads_ahead = False
        feed(body, b"ab")
        pieces = aiter(body)
        assert await anext(pieces) == b"ab"
        assert feeder.asked == []
        waiting = asyncio.ensure_future(anext(pieces))
        await asyncio.sleep(0.01)
        assert feeder.asked == ["resume"]
        feed(body, b"cd")
        assert await waiting == b"cd"
        assert feeder.asked == ["resume"]

    reading(try_it, 4)


def test_a_reader_waits_for_what_is_to_come() -> None:
    """A reader gets each piece when it has come, in order, to the end."""

    async def try_it(body: Http1Body, _: Feeder) -> None:
        async def read() -> list[bytes]:
            return [piece async for piece in body]

        reader = asyncio.create_task(read())
        for piece in (b"3\r\nabc\r\n", b"2\r\nd", b"e\r\n0\r\n\r\n"):
            await asyncio.sleep(0.01)
            assert feed(body, piece) == len(piece)
        assert await reader == [b"abc", b"d", b"e"]

    reading(try_it, None)


def test_leave_is_given_once_and_to_who_waits() -> None:
    """The client is told to go on when somebody reads, and not where it has begun by itself."""

    async def try_it(body: Http1Body, feeder: Feeder) -> None:
        reader = asyncio.ensure_future(anext(body))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert feeder.asked == ["leave", "resume"]
        assert not body.expects
        feed(body, b"a")
        assert await reader == b"a"

    async def try_begun(body: Http1Body, feeder: Feeder) -> None:
        feed(body, b"a")
        assert await anext(body) == b"a"
        assert "leave" not in feeder.asked

    reading(try_it, 2, expects=True)
    reading(try_begun, 2, expects=True)


def test_what_came_before_a_fault_is_given_and_then_the_fault() -> None:
    """A body that breaks off ends with SizeInvalid, after all that was whole of it."""

    async def try_it(body: Http1Body, _: Feeder) -> None:
        feed(body, b"abc")
        body.fail("the connection ended before the body")
        assert await anext(body) == b"abc"
        with pytest.raises(SizeInvalid, match="the connection ended"):
            await anext(body)
        assert body.ended
        assert not body.is_whole

    reading(try_it, 10)


def test_after_a_fault_nothing_counts() -> None:
    """After what is no chunk good chunks are none: they are swallowed, and the body is never whole."""

    async def try_it(body: Http1Body, _: Feeder) -> None:
        assert feed(body, b"zz\r\n") == 4
        assert feed(body, b"1\r\na\r\n0\r\n\r\nGET /") == 16
        assert not body.is_full
        assert not body.is_whole
        with pytest.raises(SizeInvalid, match="no chunk"):
            await anext(body)

    reading(try_it, None)


def test_a_client_that_stalls_is_given_up() -> None:
    """Where nothing comes in time the reader learns of it, and what comes later disturbs nobody."""

    async def try_it(body: Http1Body, _: Feeder) -> None:
        with pytest.raises(BodyTimeout):
            await anext(body)
        feed(body, b"late")
        assert not body.is_whole

    reading(try_it, 10, stall=0.05)


def test_what_nobody_wants_is_read_unless_the_client_waits() -> None:
    """The rest of a body is read to its end; of a client that waits for leave nothing is, and it gets none."""

    async def try_it(body: Http1Body, _: Feeder) -> None:
        feed(body, b"0123")
        dropping = asyncio.ensure_future(body.discard())
        await asyncio.sleep(0.01)
        feed(body, b"456789")
        await dropping
        assert body.ended

    async def try_waiting(body: Http1Body, feeder: Feeder) -> None:
        await body.discard()
        assert feeder.asked == []
        assert not body.ended

    reading(try_it, 10)
    reading(try_waiting, 10, expects=True)


def test_a_body_in_crumbs_is_known() -> None:
    """It is told when more than half of what came said how long chunks are, which costs time to read."""

    async def try_it(body: Http1Body, _: Feeder) -> None:
        feed(body, b"1\r\na\r\n" * 10)
        assert body.is_crumbled
        feed(body, b"20\r\n" + b"a" * 32 + b"\r\n")
        assert not body.is_crumbled

    reading(try_it, None)
