"""One connection: its requests one after the other, each answered before the next is looked at."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from typing import TYPE_CHECKING, Final, cast

from cargohold.http.body import NO_BODY
from cargohold.http.exchange import error_answer
from cargohold.http.http1.answers import CONTINUE, encode, refusal
from cargohold.http.http1.body import Http1Body
from cargohold.http.http1.files import STALL_SECONDS, CutOffError, Outlet
from cargohold.http.http1.head import BadHead, end_of_head
from cargohold.messages import Bytes, File, Request
from cargohold.types.errors import BlobUnknown, RegistryError

if TYPE_CHECKING:
    from cargohold.http.http1.head import Head
    from cargohold.http.http1.server import Http1Server
    from cargohold.messages import Answer

LINGER_SECONDS: Final = 2.0
AHEAD_BYTES: Final = (
    64 * 1024
)  # of requests that are sent before their turn: no more is read when so many have come
CRUMBS_BYTES: Final = (
    4 * 1024
)  # of a body in tiny chunks that are read at once: each takes half a microsecond
WIDE_BYTES: Final = 1024 * 1024
"""Of a body that are read at once, unless many come: each piece costs threads some rounds for the interpreter."""
_ALL_BODIES_BYTES: Final = 24 * 1024 * 1024  # of all that come, unless that is less than 64 KiB of each
_FEW_BODIES: Final = 8
_COPIED_BYTES: Final = 16 * 1024  # a body of so many is sent with the head, as one
_ENCRYPTED_BYTES: Final = 64 * 1024  # of an answer, at once

_log = logging.getLogger(__name__)


class Connection(asyncio.BufferedProtocol):
    """Speaks HTTP/1.1 with one client.

    What arrives goes into one buffer that all connections of the process share, and from there to the body that is
    being read, or to what is `_pending` for the next head. One task of the connection asks for all its answers.

    Attributes: `silent_since` (the server's tick when a head began to be awaited; None while a request is answered),
    `task` (which ends with the last answer).
    """

    __slots__ = (
        "_at_once",
        "_body",
        "_client",
        "_ended",
        "_is_deaf",
        "_is_lost",
        "_is_paused",
        "_loop",
        "_pending",
        "_scheme",
        "_server",
        "_transport",
        "_waiter",
        "_writable",
        "silent_since",
        "task",
    )

    def __init__(self, server: Http1Server, client: str = "") -> None:
        self._client = client
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._pending = b""
        self._body: Http1Body | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._ended = self._is_lost = self._is_paused = self._is_deaf = False
        self.silent_since: int | None = server.tick

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to serve."""
        self._transport = cast("asyncio.Transport", transport)  # those of uvloop do not inherit from it
        self._scheme = "https" if transport.get_extra_info("ssl_object") else "http"
        self._at_once = _ENCRYPTED_BYTES if self._scheme == "https" else sys.maxsize
        # What is written is said to wait as soon as any of it does: who writes past the transport must know.
        self._transport.set_write_buffer_limits(0)
        self._server.connections.add(self)
        self.task = self._loop.create_task(self._serve())

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the buffer is what it is
        """Where the next bytes go; they are taken out before anybody else writes into it."""
        server, body = self._server, self._body
        if body is None:
            return server.narrow_room
        if body.is_crumbled:
            return server.slit
        return server.wide_room[: max(AHEAD_BYTES, min(WIDE_BYTES, _ALL_BODIES_BYTES // server.bodies))]

    def buffer_updated(self, nbytes: int) -> None:
        """So many bytes have come."""
        if self._is_deaf:
            return
        buffer = self._server.buffer
        body = self._body
        if body is None:
            arrived = bytes(self._server.room[:nbytes])
        else:
            used = body.feed(buffer, nbytes)
            if body.is_whole:
                self._forget_body()
            elif body.is_full:
                self._pause()
            if used == nbytes:
                return
            arrived = bytes(self._server.wide_room[used:nbytes])
        self._pending = self._pending + arrived if self._pending else arrived
        if self._waiter is not None:
            _resolve(self._waiter)
        if len(self._pending) >= AHEAD_BYTES:
            self._pause()

    def eof_received(self) -> bool:
        """The client sends no more, and may still listen."""
        self._end("the connection ended before the body")
        return not self._is_deaf

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - whatever it was, it is over
        """The client has gone. What it has asked for comes to its end all the same."""
        self._is_lost = True
        self._server.forget(self)
        self._end("the connection ended before the body")
        self.resume_writing()
        self.task.add_done_callback(self._let_go)

    def pause_writing(self) -> None:
        """The client takes its answer more slowly than it is made."""
        self._writable = self.new_future()

    def resume_writing(self) -> None:
        """It has taken what there was."""
        if self._writable is not None:
            _resolve(self._writable)
            self._writable = None

    # What a body asks of its connection.

    def new_future(self) -> asyncio.Future[None]:
        """Something to wait for."""
        return self._loop.create_future()

    @property
    def reads_ahead(self) -> bool:
        """Whether there is room for a piece of the body while its reader is busy with the one before."""
        return self._server.bodies <= _FEW_BODIES

    def give_leave(self) -> None:
        """Tell a client that waits for it to send the body (RFC 9110, 10.1.1)."""
        if not self._is_lost:
            self._transport.write(CONTINUE)

    def resume(self) -> None:
        """Read on."""
        if self._is_paused:
            self._is_paused = False
            if not self._is_lost:
                self._transport.resume_reading()

    # What the server calls.

    def close_if_idle(self) -> None:
        """End the connection, unless a request is being answered or has begun to come."""
        if self.silent_since is not None and not self._pending:
            self.close()

    def close(self) -> None:
        """End the connection, on which no answer is on its way: its client has little time to say that it knows."""
        if not self._transport.is_closing():
            self._transport.close()
            self._loop.call_later(LINGER_SECONDS, self._transport.abort)

    def _pause(self) -> None:
        if not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()

    def _end(self, problem: str) -> None:
        self._ended = True
        if self._body is not None:
            self._body.fail(problem)
            self._forget_body()
        if self._waiter is not None:
            _resolve(self._waiter)

    def _forget_body(self) -> None:
        self._body = None
        self._server.bodies -= 1

    def _let_go(self, _: asyncio.Task[None]) -> None:
        """Forget the transport, which does not forget its protocol: with TLS that is half a megabyte, for long."""
        del self._transport

    async def _serve(self) -> None:
        try:
            while (head := await self._next_head()) is not None:
                if not await self._exchange(head):
                    break
                if self._pending:
                    await asyncio.sleep(0)  # others have their turn
        except BadHead as refused:
            if not self._is_lost:
                self._transport.write(refusal(refused.status))
                self._linger()
            return
        except (CutOffError, OSError):
            self._transport.abort()  # or the client would take what it has for the whole
            return
        except Exception:  # noqa: BLE001 - nobody waits for the task, who could be told
            self._transport.abort()
            _log.exception("a connection ends with an error that nobody caught")
            return
        if self._body is None:
            self._transport.close()
        else:
            self._linger()

    async def _next_head(self) -> Head | None:
        """The next request; None where none will come."""
        while True:
            pending = self._pending
            if pending:
                if pending[0] in b"\r\n":  # between requests it means nothing (RFC 9112, 2.2)
                    pending = self._pending = pending.lstrip(b"\r\n")
                end = end_of_head(pending)
                if end:
                    self.silent_since = None
                    if end == len(pending):
                        self._pending = b""
                        return self._server.heads.read(pending)
                    self._pending = pending[end:]
                    return self._server.heads.read(pending[:end])
            if self._ended:
                return None
            if self.silent_since is None:
                self.silent_since = self._server.tick
                if self._server.is_stopping:
                    return None
            self._waiter = self.new_future()
            self.resume()
            await self._waiter
            self._waiter = None

    async def _exchange(self, head: Head) -> bool:
        """Answer a request; whether the connection goes on."""
        application = self._server.application
        body = None if head.length == 0 else self._begin_body(head, application.stall_timeout)
        request = Request(
            head.method,
            head.path,
            head.query,
            head.headers,
            NO_BODY if body is None else body,
            length=head.length,
            client=self._client,
            scheme=self._scheme,
            host=head.host,
        )
        answer = await application.answer(request)
        keeps = head.keeps and not self._server.is_stopping and not application.ends_connections
        if body is not None and body.ended:
            keeps = keeps and body.is_whole
        if type(answer) is File and head.method != "HEAD":
            keeps = await self._send_file(answer, head, keeps=keeps)
        elif type(answer) is Bytes and head.method != "HEAD" and len(answer.body) > self._at_once:
            await self._send_in_pieces(answer, keeps=keeps)
        else:
            self._send(answer, head, keeps=keeps)
        if self._writable is not None:
            await self._drained()
        if body is not None:
            if not body.ended:
                await body.discard()
            keeps = keeps and body.is_whole
        return keeps and not self._is_lost

    def _begin_body(self, head: Head, stall: float) -> Http1Body:
        body = Http1Body(self, head.length, stall, expects=head.expects)
        if self._pending:
            used = body.feed(self._pending, len(self._pending))
            self._pending = self._pending[used:]
        if not body.is_whole:
            self._body = body
            self._server.bodies += 1
            if self._ended:
                self._end("the connection ended before the body")
            elif body.is_full:
                self._pause()
        return body

    def _send(self, answer: Answer, head: Head, *, keeps: bool) -> None:
        if self._is_lost:
            return
        to_head = head.method == "HEAD"
        encoded = encode(answer, to_head=to_head, last=not keeps)
        if type(answer) is Bytes and not to_head:
            if len(answer.body) <= _COPIED_BYTES:
                self._transport.write(encoded + answer.body)
            else:
                self._transport.writelines((encoded, answer.body))
        else:
            self._transport.write(encoded)

    async def _send_in_pieces(self, answer: Bytes, *, keeps: bool) -> None:
        """Through TLS, which holds what it has encrypted until the client takes it, and keeps most of that memory."""
        self._transport.write(encode(answer, to_head=False, last=not keeps))
        body = memoryview(answer.body)
        while body and not self._is_lost:
            self._transport.write(body[: self._at_once])
            body = body[self._at_once :]
            await self._drained()

    async def _send_file(self, answer: File, head: Head, *, keeps: bool) -> bool:
        """Send the file of an answer; whether the connection can go on. Raises CutOffError, and OSError."""
        try:
            file = await self._server.files.open(answer.path)
        except FileNotFoundError:
            self._send(error_answer(BlobUnknown()), head, keeps=keeps)
            return keeps
        except OSError:
            _log.exception("%s %s failed", head.method, head.path)
            self._send(error_answer(RegistryError()), head, keeps=keeps)
            return keeps
        try:
            length = int(next(value for name, value in answer.headers if name == "content-length"))
            encoded = encode(answer, to_head=False, last=not keeps)
            await self._drained()
            if self._is_lost:
                return False
            if self._scheme == "http":
                descriptor = self._transport.get_extra_info("socket").fileno()
                with Outlet(descriptor) as outlet:
                    await self._server.files.send(outlet, encoded, file, answer.start, length)
            else:
                await self._send_read(encoded, file, answer.start, length)
        finally:
            os.close(file)
        return keeps

    async def _send_read(self, encoded: bytes, file: int, start: int, length: int) -> None:
        """Send a file through the transport, which encrypts it."""
        self._transport.write(encoded)
        end = start + length
        while start < end and not self._is_lost:
            piece = await self._server.files.read(file, start, end - start)
            start += len(piece)
            self._transport.write(piece)
            await self._drained()

    async def _drained(self) -> None:
        """Wait until the system has what was written. Raises CutOffError where the client takes nothing for minutes."""
        while (writable := self._writable) is not None:
            left = self._transport.get_write_buffer_size()
            await asyncio.wait([writable], timeout=STALL_SECONDS)
            if not writable.done() and self._transport.get_write_buffer_size() >= left:
                raise CutOffError(f"the client took nothing for {STALL_SECONDS:g} seconds")

    def _linger(self) -> None:
        """End the connection. What still comes is dropped for a while: a reset could overtake the answer."""
        self._is_deaf = True
        self.silent_since = None
        if self._ended or self._transport.is_closing():
            self._transport.close()
            return
        try:
            self._transport.write_eof()
        except OSError:  # it has gone, which has not been noticed yet
            self._transport.abort()
        else:
            self.resume()
            self._loop.call_later(LINGER_SECONDS, self._transport.abort)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
