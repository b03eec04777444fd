"""Plain HTTP beside HTTPS: a listener that serves nothing, and sends whoever asks it to the same path there."""

from __future__ import annotations

import asyncio
import contextlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import socket

HEAD_BYTES: Final = 16 * 1024
HEAD_SECONDS: Final = 10.0
MOST_CONNECTIONS: Final = 200  # of one process; more are closed at once
_REST_BYTES: Final = 64 * 1024
_REST_SECONDS: Final = 2.0

_REQUEST: Final = re.compile(rb"[A-Z]{1,32} (?:http://[^/?#\s]+)?(/[!-~]*) HTTP/1\.[01]")
_HOST: Final = re.compile(r"([A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{0,5})?")
_HTTPS_PORT: Final = 443


@dataclass
class Redirect:
    """Answers every request on `listener` with 308 to HTTPS; method, path and query are kept.

    It leads to `authority` (host, or host:port) where that is given, and otherwise to the request's Host on
    `port`. A head may have HEAD_BYTES and take HEAD_SECONDS; the connection ends with the answer.
    """

    listener: socket.socket
    port: int
    authority: str | None = None
    _server: asyncio.Server | None = field(default=None, init=False)
    _open: int = field(default=0, init=False)

    async def start(self) -> None:
        """Serve from now on, on the running loop."""
        self._server = await asyncio.start_server(self._serve, sock=self.listener, limit=HEAD_BYTES)

    def close(self) -> None:
        """Take no more connections in this process."""
        if self._server is not None:
            self._server.close()
        self.listener.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            # A client that has gone, or is too slow: there is no one to tell.
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                if self._open <= MOST_CONNECTIONS:
                    await self._answer(reader, writer)
        finally:
            self._open -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(HEAD_SECONDS):
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.LimitOverrunError:
                head = b""
            writer.write(answer_to(head, self.port, self.authority))
            await writer.drain()
        writer.write_eof()
        async with asyncio.timeout(_REST_SECONDS):
            # An unread body would turn the close into a reset, which can overtake the answer.
            await reader.readexactly(_REST_BYTES)


def answer_to(head: bytes, port: int, authority: str | None = None) -> bytes:
    """The whole answer to a request's head: 308, or 400 where it does not say what is asked of whom."""
    first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    request = _REQUEST.fullmatch(first)
    if request is None:
        return _refusal(f"this port takes HTTP/1.1 requests with a head of at most {HEAD_BYTES} bytes")
    if authority is None:
        hosts = [line.partition(b":")[2].strip() for line in lines if line[:5].lower() == b"host:"]
        host = _HOST.fullmatch(hosts[0].decode("latin-1")) if len(hosts) == 1 else None
        if host is None:
            return _refusal("give one Host header, a name or an address")
        authority = host[1] if port == _HTTPS_PORT else f"{host[1]}:{port}"
    return _answer("308 Permanent Redirect", f"Location: https://{authority}{request[1].decode()}", "")


def _refusal(message: str) -> bytes:
    return _answer("400 Bad Request", "Content-Type: text/plain; charset=utf-8", f"{message}\n")


def _answer(status: str, header: str, body: str) -> bytes:
    lines = f"HTTP/1.1 {status}", header, f"Content-Length: {len(body)}", "Connection: close", "", body
    return "\r\n".join(lines).encode()
