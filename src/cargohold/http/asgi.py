"""The registry as an ASGI application, so that any ASGI server, or an application of one's own, can carry it.

Files pass through Python here, in pieces that threads read: slower than `rsgi`, and they need no second look,
since the file is open before the answer begins.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from cargohold.http.body import NO_BODY, RequestBody
from cargohold.http.exchange import Handler, error_answer
from cargohold.messages import Bytes, Empty, File, Request, id_headers
from cargohold.types.addresses import host_or_nothing
from cargohold.types.errors import BlobUnknown, SizeInvalid

if TYPE_CHECKING:
    from typing import BinaryIO

    from cargohold.messages import Headers

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Hook = Callable[[asyncio.AbstractEventLoop], None]

STALL_SECONDS = 60.0
PIECE_BYTES = 256 * 1024

_BODILESS = {204, 304}


class AsgiApplication:
    """Carries requests from an ASGI server to `handler` and its answers back (ASGI 3).

    The handler must have an answer to everything (`answer_faults`).
    `start` and `stop` begin and end the application's background tasks, at the server's lifespan events.
    `stall_timeout` (seconds) is how long a body may send nothing; every answer bears `headers`.
    Where the registry is mounted under a path (`root_path`), it sees the rest.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        headers: Headers | None = None,
        start: Hook | None = None,
        stop: Hook | None = None,
        stall_timeout: float = STALL_SECONDS,
    ) -> None:
        self._handler = handler
        self._headers = headers or []
        self._start = start
        self._stop = stop
        self._stall_timeout = stall_timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one scope; raises ValueError for a protocol that is not HTTP."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._exchange(scope, receive, send)
        else:
            raise ValueError(f"the registry does not speak {scope['type']}")

    async def _live(self, receive: Receive, send: Send) -> None:
        for event, hook in (("startup", self._start), ("shutdown", self._stop)):
            await receive()
            try:
                if hook is not None:
                    hook(asyncio.get_running_loop())
            except Exception as error:
                await send({"type": f"lifespan.{event}.failed", "message": str(error)})
                raise
            await send({"type": f"lifespan.{event}.complete"})

    async def _exchange(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = AsgiHeaders(scope["headers"])
        length = _announced(headers, scope)
        body = AsgiBody(receive, headers, length, self._stall_timeout) if length != 0 else NO_BODY
        request = Request(
            scope["method"],
            _path(scope),
            scope["query_string"].decode("latin-1"),
            headers,
            body,
            length=length,
            client=(scope.get("client") or ("",))[0],
            scheme=scope.get("scheme", "http"),
            host=host_or_nothing(headers.get("host")),
            width=sum(map(len, headers.values())),
        )
        answer = await self._handler(request)
        answer.headers[:0] = id_headers(request)
        answer.headers.extend(self._headers)
        if not body.ended:
            # Before the answer: with its last byte most servers close a connection whose request is unread.
            await body.discard()
        if isinstance(answer, File):
            await _send_file(scope["method"], answer, receive, send)
        else:
            await _send(scope["method"], answer, send)


class AsgiHeaders:
    """A request's headers."""

    def __init__(self, lines: list[tuple[bytes, bytes]]) -> None:
        named = [(name.decode("latin-1").lower(), value) for name, value in lines]
        self._names = {name for name, _ in named}
        self._unreadable = {name for name, value in named if not value.isascii()}
        self._lines = [(name, value.decode()) for name, value in named if value.isascii()]

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def get(self, key: str) -> str | None:
        """The first value of that name; None where there is none, or where a line of that name is not ASCII."""
        if key in self._unreadable:
            return None
        return next((value for name, value in self._lines if name == key), None)

    def get_all(self, key: str) -> list[str]:
        """The value of each line of that name, in their order."""
        return [value for name, value in self._lines if name == key]

    def values(self) -> list[str]:
        """The value of each header line."""
        return [value for _, value in self._lines]


class AsgiBody(RequestBody):
    """A body that an ASGI server feeds; a client that leaves before its end is always told from the end."""

    __slots__ = ("_awaits_continue", "_last", "_receive_event")

    def __init__(self, receive: Receive, headers: AsgiHeaders, length: int | None, stall: float) -> None:
        super().__init__(length, stall)
        self._receive_event = receive
        self._awaits_continue = "expect" in headers
        self._last = False

    async def _receive(self) -> bytes:
        while not self._last:
            event = await self._receive_event()
            if event["type"] == "http.disconnect":
                raise SizeInvalid("the body was cut off before its end")
            self._awaits_continue = False
            self._last = not event.get("more_body", False)
            piece: bytes = event.get("body", b"")
            if piece:
                return piece
        return b""

    async def discard(self) -> None:
        """Read the rest, unless the client waits for `100 Continue` and has sent nothing."""
        if not self._awaits_continue:
            await super().discard()


def _path(scope: Scope) -> str:
    """The path as `rsgi` gives it: decoded once, what is not UTF-8 replaced."""
    raw: bytes | None = scope.get("raw_path")
    path: str = scope["path"] if raw is None else unquote_to_bytes(raw).decode("utf-8", "replace")
    return path.removeprefix(scope.get("root_path", ""))


def _announced(headers: AsgiHeaders, scope: Scope) -> int | None:
    if "transfer-encoding" in headers:
        return None
    length = headers.get("content-length")
    if length is not None:
        return int(length)
    return 0 if scope["http_version"] in {"1.0", "1.1"} else None


async def _send(method: str, answer: Empty | Bytes, send: Send) -> None:
    body = answer.body if isinstance(answer, Bytes) else b""
    headers = answer.headers
    bodiless = answer.status in _BODILESS or (method == "HEAD" and isinstance(answer, Empty))
    if not (bodiless or _has_length(headers)):
        headers = [*headers, ("content-length", str(len(body)))]
    await send(_start(answer.status, headers))
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})


def _has_length(headers: Headers) -> bool:
    return any(name == "content-length" for name, _ in headers)


async def _send_file(method: str, answer: File, receive: Receive, send: Send) -> None:
    try:
        file = await asyncio.to_thread(open, answer.path, "rb")
    except FileNotFoundError:
        await _send(method, error_answer(BlobUnknown()), send)
        return
    leaving = asyncio.ensure_future(_departure(receive))
    try:
        await send(_start(answer.status, answer.headers))
        await _send_pieces(file, answer, leaving, send)
    finally:
        leaving.cancel()
        await asyncio.to_thread(file.close)


async def _departure(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send_pieces(file: BinaryIO, answer: File, leaving: asyncio.Future[Any], send: Send) -> None:
    """Send what is asked for; stops where the client leaves.

    Raises EOFError where the file has not that many bytes: the server then ends the connection, which tells
    the client that the answer is not whole.
    """
    left = int(next(value for name, value in answer.headers if name == "content-length"))
    await asyncio.to_thread(file.seek, answer.start)
    while left and not leaving.done():
        piece = await asyncio.to_thread(file.read, min(left, PIECE_BYTES))
        if not piece:
            raise EOFError(f"{answer.path} is {left} bytes shorter than was announced")
        left -= len(piece)
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    if not left:
        await send({"type": "http.response.body"})


def _start(status: int, headers: Headers) -> dict[str, Any]:
    lines = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    return {"type": "http.response.start", "status": status, "headers": lines}
