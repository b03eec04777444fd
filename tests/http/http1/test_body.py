"""Bodies as a connection feeds them: one piece at a time, whole or not at all."""

from __future__ import annotations

import asyncio
from itertools import cycle, pairwise
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cargohold.http.http1.body import Http1Body, WholeBody
from cargohold.http.http1.rooms import ROOM_BYTES, Rooms
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
        async def read() -> list[bytes | memoryview]:
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


def put(body: Http1Body, rooms: Rooms, data: bytes) -> bytes:
    """What comes into the body's own room, as much as that takes at once; what was not the body's."""
    room = body.room(rooms)
    assert len(room) >= len(data)
    room[: len(data)] = data
    return body.arrived(len(data))


def test_what_comes_into_a_room_is_one_piece_until_that_is_full() -> None:
    """Pieces of a room follow one another there, and no more is read only when there is no space in it."""

    async def try_it(body: Http1Body, feeder: Feeder) -> None:
        rooms, half = Rooms(), ROOM_BYTES // 2
        assert put(body, rooms, b"a" * half) == b""
        assert not body.is_full
        put(body, rooms, b"b" * (half - 1))
        assert body.is_full
        pieces = aiter(body)
        first = await anext(pieces)
        assert first == b"a" * half + b"b" * (half - 1)
        assert feeder.asked == ["resume"]
        assert put(body, rooms, b"cd") == b"d"
        assert (body.is_whole, body.waiting) == (True, 1)
        second = await anext(pieces)
        assert (first[-1:], second) == (b"b", b"c")

    reading(try_it, ROOM_BYTES)


def test_a_room_that_somebody_looks_at_is_left_alone() -> None:
    """What the reader holds is never written over; when he lets go of it the same memory is used again."""

    async def try_it(body: Http1Body, _: Feeder) -> None:
        rooms, pieces = Rooms(), aiter(body)
        held = []
        for number in range(20):
            put(body, rooms, bytes([number]) * ROOM_BYTES)
            held.append(await anext(pieces))
        assert [bytes(piece[:: ROOM_BYTES - 1]) for piece in held] == [bytes([n, n]) for n in range(20)]
        first = memoryview(held[0]).obj
        held.clear()
        put(body, rooms, b"x")
        assert memoryview(await anext(pieces)).obj is first

    reading(try_it, 1 << 40)


def test_where_many_come_a_room_is_full_with_the_first_piece() -> None:
    """Who is not read ahead is not read on in its room either, until the reader has taken what there is."""

    async def try_it(body: Http1Body, feeder: Feeder) -> None:
        put(body, Rooms(), b"a")
        feeder.reads_ahead = False
        assert body.is_full
        feed(body, b"b")
        assert await anext(body) == b"ab"
        assert not body.is_full

    reading(try_it, 9)


@given(
    st.lists(st.binary(min_size=1, max_size=60), max_size=8),
    st.lists(st.integers(0, 600), max_size=8),
    st.lists(st.sampled_from(["room", "elsewhere", "read"]), min_size=1),
    st.binary(max_size=9),
)
def test_chunks_are_the_same_body_wherever_they_come(
    chunks: list[bytes], cuts: list[int], ways: list[str], rest: bytes
) -> None:
    """Into a room or elsewhere, cut anywhere, read early or late: the content is that of the chunks, in their order."""
    data = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n" + rest
    places = sorted({0, len(data), *(cut % len(data) for cut in cuts)})

    async def try_it(body: Http1Body, _: Feeder) -> None:
        rooms, way, content, left = Rooms(), cycle(ways), b"", b""
        for start, end in pairwise(places):
            if (how := next(way)) == "read" and body.waiting:
                content += await anext(body)
            if body.is_whole:
                left += data[start:end]
            elif how == "room":
                left += put(body, rooms, data[start:end])
            else:
                left += data[start:end][feed(body, data[start:end]) :]
        async for piece in body:
            content += piece
        assert (content, left) == (b"".join(chunks), rest)

    reading(try_it, None)


def test_a_body_in_crumbs_is_known() -> None:
    """It is told when more than half of what came said how long chunks are, which costs time to read."""

    async def try_it(body: Http1Body, _: Feeder) -> None:
        feed(body, b"1\r\na\r\n" * 10)
        assert body.is_crumbled
        feed(body, b"20\r\n" + b"a" * 32 + b"\r\n")
        assert not body.is_crumbled

    reading(try_it, None)


def test_what_came_whole_is_one_piece() -> None:
    """A body that came with its head is read once, like any other, or dropped; it waits for nobody."""

    async def try_it() -> None:
        read, dropped = WholeBody(b"abc"), WholeBody(b"abc")
        assert (read.length, read.received, read.ended, read.is_whole) == (3, 0, False, True)
        assert [piece async for piece in read] == [b"abc"]
        assert [piece async for piece in read] == []
        assert (read.received, read.ended, read.is_whole) == (3, True, True)
        for body in (read, dropped):
            await body.discard()
            assert body.ended
        assert [piece async for piece in dropped] == []

    asyncio.run(try_it())
