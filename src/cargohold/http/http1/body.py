"""The body of a request as it arrives on its connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cargohold.http.body import RequestBody
from cargohold.http.http1.framing import BadFraming, Chunked, Framing, Sized, Span
from cargohold.types.errors import SizeInvalid

if TYPE_CHECKING:
    import asyncio

    from cargohold.http.http1.connection import Connection
    from cargohold.http.http1.rooms import Rooms

_SMALL_BYTES: Final = 64 * 1024
_LEAST_BYTES: Final = 64 * 1024  # of a room: where less is left, what comes next goes into another


class WholeBody(RequestBody):
    """A body that came with its head to its last byte, as small ones do: there is nothing to wait for, nor to feed."""

    __slots__ = ("_content",)

    def __init__(self, content: bytes) -> None:
        super().__init__(len(content), 0.0)
        self._content = content

    @property
    def is_whole(self) -> bool:
        """Yes."""
        return True

    async def _receive(self) -> bytes:
        return self._take()

    def _take(self) -> bytes:
        content, self._content = self._content, b""
        return content

    async def discard(self) -> None:
        """Drop it, if nobody has read it."""
        self._content = b""
        self.ended = True


class Http1Body(RequestBody):
    """A body that a connection feeds. What has come is kept until the reader takes it; meanwhile no more is read.

    Where few bodies come, the next is read while the reader is busy with that; a large one's bytes are received into a
    room of its own then, as long as there is space, and its pieces are views of that.

    Attributes: `expects` (the client waits for leave to send it), `is_crumbled` (more than half of what came last was
    no content, but said how long chunks are).
    """

    __slots__ = (
        "_begun",
        "_connection",
        "_end",
        "_framing",
        "_piece",
        "_problem",
        "_room",
        "_view",
        "_waiter",
        "expects",
        "is_crumbled",
    )

    def __init__(self, connection: Connection, length: int | None, stall: float, *, expects: bool) -> None:
        super().__init__(length, stall)
        self._connection = connection
        self._framing: Framing = Chunked() if length is None else Sized(length)
        self._piece = b""
        self._room = bytearray()
        self._view = memoryview(self._room)
        self._begun = self._end = 0
        self._problem = ""
        self._waiter: asyncio.Future[None] | None = None
        self.expects = expects
        self.is_crumbled = False

    @property
    def is_whole(self) -> bool:
        """Whether its last byte has come: what comes now is another request."""
        return self._framing.complete

    @property
    def is_large(self) -> bool:
        """Whether it is worth a room."""
        return self.length is None or self.length > _SMALL_BYTES

    def room(self, rooms: Rooms) -> memoryview:
        """Where to put what comes next, behind what came before if there is space; `arrived` is to be told of it."""
        if self._has_no_space and self._begun == self._end:
            self._room = rooms.take()
            self._view = memoryview(self._room)
            self._begun = self._end = 0
        return self._view[self._end :]

    def arrived(self, count: int) -> bytes:
        """Take so many bytes that have come into its room; those of them that were not the body's."""
        start = self._end
        spans, stop = self._frame(self._room, start, start + count)
        for first, last in spans:
            end = self._end + last - first
            if first > self._end:
                self._view[self._end : end] = self._view[first:last]
            self._end = end
        return bytes(self._view[stop : start + count])

    def feed(self, data: bytearray | bytes, stop: int) -> int:
        """Take what has come elsewhere, the first `stop` bytes, by a copy; how many of them were the body's."""
        spans, used = self._frame(data, 0, stop)
        view = memoryview(data)
        content = b"".join([view[first:last] for first, last in spans])
        if self._room:
            self._leave_room()
        self._piece = self._piece + content if self._piece else content
        return used

    def _leave_room(self) -> None:
        """Let go of the room, of which there are to be few where many bodies come."""
        self._piece += self._view[self._begun : self._end]
        self._room = bytearray()
        self._view = memoryview(self._room)
        self._begun = self._end = 0

    def _frame(self, data: bytearray | bytes, start: int, stop: int) -> tuple[list[Span], int]:
        """Where there is content in what has come, and where that ends."""
        self.expects = False
        if self._problem:
            return [], stop  # after what was no chunk nothing is one
        try:
            spans, end = self._framing.take(data, start, stop)
        except BadFraming:
            self.fail("what follows a chunk is no chunk")
            return [], stop
        self.is_crumbled = 2 * sum(last - first for first, last in spans) < end - start
        self._wake()
        return spans, end

    def fail(self, problem: str) -> None:
        """No more will come."""
        self._problem = problem
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _receive(self) -> bytes | memoryview:
        while not (piece := self._take()):
            if self._framing.complete:
                return b""
            if self._problem:
                raise SizeInvalid(self._problem)
            if self.expects:
                self.expects = False
                self._connection.give_leave()
            self._waiter = self._connection.new_future()
            self._connection.resume()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return piece

    def _take(self) -> bytes | memoryview:
        piece: bytes | memoryview = self._piece
        if piece:
            self._piece = b""
        elif self._begun < self._end:
            piece = self._view[self._begun : self._end]
            self._begun = self._end
        if piece and self._connection.reads_ahead:
            self._connection.resume()
        return piece

    @property
    def waiting(self) -> int:
        """How many bytes have come that the reader has not taken yet."""
        return len(self._piece) + self._end - self._begun

    @property
    def _has_no_space(self) -> bool:
        return len(self._room) - self._end < _LEAST_BYTES

    @property
    def is_full(self) -> bool:
        """Whether so much waits for the reader that no more is to be read."""
        if self._begun < self._end:
            return self._has_no_space or not self._connection.reads_ahead
        return bool(self._piece)

    async def discard(self) -> None:
        """Read the rest; nothing is read of a client that waits for leave to send it, which it does not get."""
        if not self.expects:
            await super().discard()
