"""The registry as an RSGI application, for granian: its fastest interface, which sends files without Python.

What granian decodes, cuts and answers by itself is stated by the tests of this module, against the real
server.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from cargohold.http.body import NO_BODY, RequestBody
from cargohold.messages import Bytes, Empty, File, Request, RequestHeaders, id_headers
from cargohold.types.addresses import host_or_nothing
from cargohold.types.errors import SizeInvalid
from cargohold.types.numbers import whole_number

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cargohold.http.application import Application
    from cargohold.messages import Answer, Headers

# Granian gives one empty piece for the end of a body. Over HTTP/1 it gives another for the error that cut it
# off (or for trailers, which no client of a registry sends). Over HTTP/2 the error comes again and again,
# each time as an empty piece, and a frame that is empty is one more.
_ENDLESS = 32
_CLOSE = ("connection", "close")


class Scope(Protocol):
    """What granian tells of a request; each attribute is computed anew when it is read."""

    method: str
    path: str
    query_string: str
    client: str
    scheme: str
    http_version: str
    authority: str | None
    headers: RequestHeaders


class HTTPProtocol(Protocol):
    """Granian's side of one request and its answer."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    def response_empty(self, status: int, headers: Headers) -> None:
        """Answer without a body."""
        ...

    def response_bytes(self, status: int, headers: Headers, body: bytes) -> None:
        """Answer with a body that is in memory; adds its length."""
        ...

    def response_file(self, status: int, headers: Headers, file: str) -> None:
        """Answer with a whole file, opened when this has returned."""
        ...

    def response_file_range(self, status: int, headers: Headers, file: str, start: int, end: int) -> None:
        """Answer with a file's bytes from `start` up to but not including `end`, which must be larger."""
        ...


class Rsgi:
    """Carries requests from granian to an application, and its answers back."""

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __rsgi__(self, scope: Scope, protocol: HTTPProtocol) -> None:
        """Answer one request, then read what its client may still be sending."""
        headers = scope.headers
        length = _announced(headers, scope)
        body = (
            RsgiBody(protocol, headers, scope, length, self._application.stall_timeout)
            if length != 0
            else NO_BODY
        )
        request = Request(
            scope.method,
            scope.path,
            scope.query_string,
            headers,
            body,
            length=length,
            client=scope.client.rpartition(":")[0].strip("[]"),
            scheme=scope.scheme,
            # In its own place over HTTP/2; in an address of absolute form, where it counts for more (RFC 9112, 3.2.2).
            host=host_or_nothing(scope.authority or headers.get("host")),
            width=sum(map(len, headers.values())),
        )
        try:
            answer = await self._application.answer(request)
            answer.headers[:0] = id_headers(request)
            if self._application.ends_connections:
                answer.headers.append(_CLOSE)
            _send(protocol, answer)
            if not body.ended:
                await body.discard()
        except asyncio.CancelledError:
            # The process ends, and this is the outermost frame of the request: granian would log it as a fault.
            return


class RsgiBody(RequestBody):
    """A body that granian feeds.

    Every truncation is seen but one: over HTTP/2, without a Content-Length, a stream that its client resets
    with NO_ERROR ends like one that is whole. What is stored from such a body must be held against a digest.
    """

    __slots__ = ("_awaits_continue", "_http2", "_protocol", "_stream")

    def __init__(
        self, protocol: HTTPProtocol, headers: RequestHeaders, scope: Scope, length: int | None, stall: float
    ) -> None:
        super().__init__(length, stall)
        self._protocol = protocol
        self._stream: AsyncIterator[bytes] | None = None
        self._http2 = scope.http_version == "2"
        self._awaits_continue = "expect" in headers

    async def _receive(self) -> bytes:
        if self._stream is None:
            self._stream = aiter(self._protocol)
        empties = 0
        while empties < _ENDLESS:
            try:
                piece = await anext(self._stream)
            except StopAsyncIteration:
                break
            if piece:
                return piece
            empties += 1
        if self.length is None and empties > (_ENDLESS - 1 if self._http2 else 1):
            raise SizeInvalid("the body was cut off before its end")
        return b""

    async def discard(self) -> None:
        """Read the rest, unless none will come or nothing is lost without it.

        A client that waits for `100 Continue` has sent nothing, and reading would ask it to; over HTTP/2 a
        stream that is not read is reset without harm to its answer.
        """
        if not self._http2 and (self._stream is not None or not self._awaits_continue):
            await super().discard()


def _announced(headers: RequestHeaders, scope: Scope) -> int | None:
    if "transfer-encoding" in headers:
        return None
    length = headers.get("content-length")
    if length is not None:
        return whole_number(length)
    return None if scope.http_version == "2" else 0


def _send(protocol: HTTPProtocol, answer: Answer) -> None:
    status = answer.status
    match answer:
        case Bytes():
            protocol.response_bytes(status, answer.headers, answer.body)
        case Empty():
            protocol.response_empty(status, answer.headers)
        case File(start=0, stop=0):
            protocol.response_file(status, answer.headers, answer.path)
        case File():
            protocol.response_file_range(status, answer.headers, answer.path, answer.start, answer.stop)
