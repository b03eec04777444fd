"""A client of our own, for what wrk cannot do (HEAD, a new body for each request) and where it is not installed.

It costs 4 to 9 us of one core for each request, and has one alone, so it measures times of answers rather than the most
that a fast server can do.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from typing import TYPE_CHECKING, cast

import uvloop

if TYPE_CHECKING:
    from collections.abc import Callable

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_GRACE_SECONDS = 30.0


class _Talk(asyncio.Protocol):
    """One connection: sends a request, waits for the whole answer, sends the next, until the time is over.

    With a `pause`, one is due so many seconds after the one before was, and that which must wait for the answer to the
    one before takes its time from when it was due: a server that is too slow for the pace is not spared by that.
    """

    def __init__(
        self, make: Callable[[], bytes], expected: int, until: float, took: list[float], pause: float
    ) -> None:
        self._make = make
        self._expected = f"HTTP/1.1 {expected} ".encode()
        self._until = until
        self._took = took
        self._pause = pause
        self._due = time.perf_counter() + pause * random.random()
        self._answer = b""
        self._sent = 0.0
        self._is_head = False
        self._transport: asyncio.Transport | None = None
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # those of uvloop do not inherit from it
        self._send_when_due()

    def _send_when_due(self) -> None:
        if not self._pause:
            self._send(time.perf_counter())
            return
        due, self._due = self._due, self._due + self._pause
        early = due - time.perf_counter()
        if early > 0:
            # A timer comes some part of a millisecond too late, which is not the server's fault.
            asyncio.get_running_loop().call_later(early, lambda: self._send(time.perf_counter()))
        else:
            self._send(due)

    def _send(self, now: float) -> None:
        assert self._transport is not None
        if self.ended.done():
            return
        request = self._make()
        self._is_head = request.startswith(b"HEAD ")
        self._answer = b""
        self._sent = now
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, blank, body = self._answer.partition(b"\r\n\r\n")
        if not blank:
            return
        length = _LENGTH.search(head)
        if length is not None and not self._is_head and len(body) < int(length[1]):
            return
        now = time.perf_counter()
        self._took.append(now - self._sent)
        if not head.startswith(self._expected):
            self._end(RuntimeError(f"not the expected answer: {self._answer[:500]!r}"))
        elif now >= self._until:
            self._end(None)
        else:
            self._send_when_due()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc or ConnectionResetError("the server has closed the connection"))

    def _end(self, error: Exception | None) -> None:
        assert self._transport is not None
        if not self.ended.done():
            if error is None:
                self.ended.set_result(None)
            else:
                self.ended.set_exception(error)
        self._transport.close()


def run(  # noqa: PLR0913, PLR0917 - each is one thing that cases differ in
    port: int,
    make: Callable[[int], bytes],
    expected: int,
    clients: int,
    seconds: float,
    rate: float | None = None,
) -> list[float]:
    """Send requests on as many connections as there are clients, each one at a time; the seconds that each took.

    They are sent as fast as they are answered, or at a `rate` of so many a second, of all connections together. Raises
    RuntimeError where an answer has another status than `expected`, ConnectionError, or TimeoutError.
    """
    return uvloop.run(_run(port, make, expected, clients, seconds, clients / rate if rate else 0.0))


async def _run(  # noqa: PLR0913, PLR0917
    port: int, make: Callable[[int], bytes], expected: int, clients: int, seconds: float, pause: float
) -> list[float]:
    took: list[float] = []
    until = time.perf_counter() + seconds
    number = iter(range(1 << 62))

    def make_next() -> bytes:
        return make(next(number))

    loop = asyncio.get_running_loop()
    async with asyncio.timeout(seconds + _GRACE_SECONDS):
        talks = [
            (
                await loop.create_connection(
                    lambda: _Talk(make_next, expected, until, took, pause), "127.0.0.1", port
                )
            )[1]
            for _ in range(clients)
        ]
        await asyncio.gather(*(talk.ended for talk in talks))
    return took
