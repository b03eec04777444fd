"""The body of a request, whichever server it comes through: its length checked, the wait for it bounded."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import Self

from cargohold.types.errors import BodyTimeout, RegistryError, SizeInvalid

DISCARD_BYTES = 256 * 1024 * 1024
DISCARD_SECONDS = 30.0
DISCARD_STALL_SECONDS = 5.0


class RequestBody(ABC):
    """A body that a server's adapter feeds; read once, by one reader at a time.

    `length` is the number of bytes announced, None where none was; `stall` is how many seconds the client may
    send nothing while a piece is awaited. Time that the reader spends on a piece does not count.
    """

    __slots__ = ("_stall", "ended", "length", "received")

    def __init__(self, length: int | None, stall: float) -> None:
        self.length = length
        self.received = 0
        self.ended = length == 0
        self._stall = stall

    @abstractmethod
    async def _receive(self) -> bytes | memoryview:
        """The next piece, b"" at the end; raises SizeInvalid where the end is seen not to be a clean one."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes | memoryview:
        """The next piece, never empty.

        Raises SizeInvalid where the body ended before it was whole, BodyTimeout where the client stalled.
        """
        if self.ended:
            raise StopAsyncIteration
        piece = self._take()
        return self._count(piece) if piece else self._count(await self._await_piece())

    def _take(self) -> bytes | memoryview:
        """A piece that has come already; b"" where it must be waited for."""
        return b""

    async def _await_piece(self) -> bytes | memoryview:
        try:
            async with asyncio.timeout(self._stall):
                return await self._receive()
        except TimeoutError:
            self.ended = True
            raise BodyTimeout(
                f"the request's body stalled: nothing came for {self._stall:g} seconds"
            ) from None
        except SizeInvalid:
            self.ended = True
            raise
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # A server that stops cancels the piece that is awaited, not the one who awaits it.
            self.ended = True
            raise SizeInvalid("the connection ended before the body") from None

    def _count(self, piece: bytes | memoryview) -> bytes | memoryview:
        self.received += len(piece)
        if self.received == self.length:
            self.ended = True
        if piece:
            return piece
        self.ended = True
        if self.length is not None:
            raise SizeInvalid(
                f"the body ended after {self.received} of the {self.length} bytes of its Content-Length"
            )
        raise StopAsyncIteration

    async def discard(self) -> None:
        """Read what is left and drop it, within bounds of bytes, time and stalling.

        A connection closed on a client that is still sending is reset, and the reset can overtake the answer:
        so the answer goes out first and the rest is read while the client gets to it.
        """
        self._stall = min(self._stall, DISCARD_STALL_SECONDS)
        limit = self.received + DISCARD_BYTES
        try:
            async with asyncio.timeout(DISCARD_SECONDS):
                async for _ in self:
                    if self.received >= limit:
                        return
        except (TimeoutError, RegistryError):
            return  # the answer is out already: there is nobody left to tell


class NoBody(RequestBody):
    """The body of a request that has none."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(0, 0.0)

    async def _receive(self) -> bytes:
        return b""


NO_BODY = NoBody()
