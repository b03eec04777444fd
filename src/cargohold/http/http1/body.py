"""The body of a request as it arrives on its connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cargohold.http.body import RequestBody
from cargohold.http.http1.framing import BadFraming, Chunked, Framing, Sized
from cargohold.types.errors import SizeInvalid

if TYPE_CHECKING:
    import asyncio

    from cargohold.http.http1.connection import Connection


class Http1Body(RequestBody):
    """A body that a connection feeds. One piece is kept until the reader takes it; meanwhile no more is read.

    Where few bodies come, the next is read while the reader is busy with that.

    Attributes: `expects` (the client waits for leave to send it), `is_crumbled` (more than half of what came last was
    no content, but said how long chunks are).
    """

    __slots__ = ("_connection", "_framing", "_piece", "_problem", "_waiter", "expects", "is_crumbled")

    def __init__(self, connection: Connection, length: int | None, stall: float, *, expects: bool) -> None:
        super().__init__(length, stall)
        self._connection = connection
        self._framing: Framing = Chunked() if length is None else Sized(length)
        self._piece = b""
        self._problem = ""
        self._waiter: asyncio.Future[None] | None = None
        self.expects = expects
        self.is_crumbled = False

    @property
    def is_whole(self) -> bool:
        """Whether its last byte has come: what comes now is another request."""
        return self._framing.complete

    def feed(self, data: bytearray | bytes, stop: int) -> int:
        """Take what has come, the first `stop` bytes; how many of them were the body's."""
        self.expects = False
        if self._problem:
            return stop  # after what was no chunk nothing is one
        try:
            content, used = self._framing.take(data, stop)
        except BadFraming:
            self.fail("what follows a chunk is no chunk")
            return stop
        self.is_crumbled = 2 * len(content) < used
        self._piece = self._piece + content if self._piece else content
        self._wake()
        return used

    def fail(self, problem: str) -> None:
        """No more will come."""
        self._problem = problem
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _receive(self) -> bytes:
        while not self._piece:
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
        return self._take()

    def _take(self) -> bytes:
        piece = self._piece
        if piece:
            self._piece = b""
            if self._connection.reads_ahead:
                self._connection.resume()
        return piece

    @property
    def is_full(self) -> bool:
        """Whether there is a piece that nobody has taken yet."""
        return bool(self._piece)

    async def discard(self) -> None:
        """Read the rest; nothing is read of a client that waits for leave to send it, which it does not get."""
        if not self.expects:
            await super().discard()
