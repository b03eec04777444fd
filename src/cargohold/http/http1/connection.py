"""One connection: its requests one after the other, each answered before the next is looked at."""

from __future__ import annotations

import asyncio
import logging
from contextvars import copy_context
from typing import TYPE_CHECKING, Final, cast

from cargohold.http.body import NO_BODY
from cargohold.http.http1.answers import CONTINUE, refusal
from cargohold.http.http1.begun import begin
from cargohold.http.http1.body import Http1Body, WholeBody
from cargohold.http.http1.files import CutOffError
from cargohold.http.http1.head import BadHead, end_of_head
from cargohold.http.http1.sending import ENCRYPTED_BYTES, Sender, resolve
from cargohold.messages import Bytes, File, Request

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from cargohold.http.http1.head import Head
    from cargohold.http.http1.server import Http1Server

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

_log = logging.getLogger(__name__)


class Connection(Sender):
    """Speaks HTTP/1.1 with one client.

    What arrives goes into one buffer that all connections of the process share, and from there to the body that is
    being read, or to what is `_pending` for the next head; that of large bodies, where few come, into a room of the
    body's own. One task of the connection asks for all its answers; what needs no wait is answered before it would be
    awake.

    Attributes: `silent_since` (the server's tick when a head began to be awaited; None while a request is answered),
    `may_begin` (whether what comes may be answered before others have their turn), `task` (which ends with the last
    answer).
    """

    __slots__ = (
        "_body",
        "_client",
        "_context",
        "_ended",
        "_is_deaf",
        "_is_in_room",
        "_is_paused",
        "_left",
        "_pending",
        "_waiter",
        "may_begin",
        "silent_since",
        "task",
    )

    def __init__(self, server: Http1Server, client: str = "") -> None:
        super().__init__(server)
        self._client = client
        self._pending = b""
        self._body: Http1Body | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._left: Awaitable[bool] | None = None
        self._ended = self._is_paused = self._is_deaf = self._is_in_room = False
        self.silent_since: int | None = server.tick
        self.may_begin = True

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to serve."""
        self._transport = cast("asyncio.Transport", transport)  # those of uvloop do not inherit from it
        self._scheme = "https" if transport.get_extra_info("ssl_object") else "http"
        # What is written is said to wait as soon as any of it does: who writes past the transport must know.
        self._transport.set_write_buffer_limits(0)
        self._server.connections.add(self)
        self._context = copy_context()
        self.task = self._loop.create_task(self._serve(), context=self._context)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the buffer is what it is
        """Where the next bytes go; they are taken out before anybody else writes into it."""
        server, body = self._server, self._body
        if body is None or self._is_deaf:
            return server.narrow_room
        if body.is_crumbled:
            self._is_in_room = False
            return server.slit
        self._is_in_room = body.is_large and self.reads_ahead
        if self._is_in_room:
            return body.room(server.rooms)
        return server.wide_room[: max(AHEAD_BYTES, min(WIDE_BYTES, _ALL_BODIES_BYTES // server.bodies))]

    def buffer_updated(self, nbytes: int) -> None:
        """So many bytes have come."""
        if self._is_deaf:
            return
        body = self._body
        if body is None:
            arrived = bytes(self._server.room[:nbytes])
            if (
                self._waiter is not None
                and not self._pending
                and self.may_begin
                and self._begin_with(arrived)
            ):
                return
        else:
            if self._is_in_room:
                arrived = body.arrived(nbytes)
            else:
                used = body.feed(self._server.buffer, nbytes)
                arrived = bytes(self._server.wide_room[used:nbytes])
            if body.is_whole:
                self._forget_body()
            elif body.is_full:
                self._pause()
            if not arrived:
                return
        self._pending = self._pending + arrived if self._pending else arrived
        self._wake()
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
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None:
            resolve(self._waiter)
            self._waiter = None

    def _begin_with(self, arrived: bytes) -> bool:
        """While the task waits for a request: begin with the one that is first in this; whether there is one."""
        heads = self._server.heads
        head = None
        if arrived.endswith(b"\r\n\r\n"):  # with no body behind it, most likely
            head = heads.known(arrived) or heads.alike(arrived)
        if head is None:
            try:
                end = end_of_head(arrived)
                if not end:
                    return False
                head = heads.read(arrived[:end])
            except BadHead:
                return False  # the task finds the same, and answers it
            self._pending = arrived[end:]
        self.silent_since = None
        if head.length is not None and head.length <= len(self._pending):
            self._answer_at_once(head)
        else:  # where a body has not come to its end, what becomes of the connection is for the task to see
            self._left = self._exchange(head)
            self._wake()
        return True

    def _answer_at_once(self, head: Head) -> None:
        """Begin with a request whose body has come, and leave to the task what takes longer."""
        keeps = begin(self._exchange(head), self.task, self._context)
        if keeps is True:
            if not self._pending:
                self.silent_since = self._server.tick
                return
        elif keeps is False:
            self._ended = self._is_deaf = True
            self._pending = b""  # what comes behind it is not answered (RFC 9112, 9.6)
        else:
            self._left = keeps
        self._wake()

    def _forget_body(self) -> None:
        self._body = None
        self._server.bodies -= 1

    def _let_go(self, _: asyncio.Task[None]) -> None:
        """Forget the transport, which does not forget its protocol: with TLS that is half a megabyte, for long."""
        del self._transport

    async def _serve(self) -> None:
        try:
            while (exchange := await self._next_exchange()) is not None:
                if not await exchange:
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
        except asyncio.CancelledError:
            self._transport.abort()
            raise
        except Exception:  # noqa: BLE001 - nobody waits for the task, who could be told
            self._transport.abort()
            _log.exception("a connection ends with an error that nobody caught")
            return
        if self._body is None:
            self._transport.close()
        else:
            self._linger()

    async def _next_exchange(self) -> Awaitable[bool] | None:
        """What answers the next request; None where none will come."""
        while True:
            if self._left is not None:
                left, self._left = self._left, None
                return left
            if self._pending and (head := self._pending_head()) is not None:
                return self._exchange(head)
            if self._ended:
                return None
            if self.silent_since is None:
                self.silent_since = self._server.tick
                if self._server.is_stopping:
                    return None
            self._waiter = self.new_future()
            self.resume()
            try:
                await self._waiter
            except asyncio.CancelledError:
                if self._left is None:
                    raise
                self.task.uncancel()  # it is counted once, by who looks whether it was his own limit of time
                self.task.cancel()  # when it waits again: for what was begun

    def _pending_head(self) -> Head | None:
        """The next of what has come, if it is whole."""
        pending = self._pending
        if pending[0] in b"\r\n":  # between requests it means nothing (RFC 9112, 2.2)
            pending = self._pending = pending.lstrip(b"\r\n")
        end = end_of_head(pending)
        if not end:
            return None
        self.silent_since = None
        if end == len(pending):
            self._pending = b""
            return self._server.heads.read(pending)
        self._pending = pending[end:]
        return self._server.heads.read(pending[:end])

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
            width=head.width,
        )
        answer = await application.answer(request)
        keeps = head.keeps and not self._server.is_stopping and not application.ends_connections
        if body is not None and body.ended:
            keeps = keeps and body.is_whole
        if type(answer) is File and head.method != "HEAD":
            keeps = await self._send_file(answer, request, keeps=keeps)
        elif (
            self._scheme == "https"
            and type(answer) is Bytes
            and head.method != "HEAD"
            and len(answer.body) > ENCRYPTED_BYTES
        ):
            await self._send_in_pieces(answer, request, keeps=keeps)
        else:
            self._send(answer, request, keeps=keeps)
        if self._writable is not None:
            await self._drained()
        if body is not None:
            if not body.ended:
                await body.discard()
            keeps = keeps and body.is_whole
        return keeps and not self._is_lost

    def _begin_body(self, head: Head, stall: float) -> Http1Body | WholeBody:
        pending, length = self._pending, head.length
        if length is not None and length <= len(pending):
            self._pending = pending[length:]
            return WholeBody(pending[:length])
        body = Http1Body(self, head.length, stall, expects=head.expects)
        if self._pending:
            used = body.feed(self._pending, len(self._pending))
            self._pending = self._pending[used:]
        if not body.is_whole:
            self._body = body
            self._server.bodies += 1
            if not self.reads_ahead:
                self._server.rooms.forget()
            if self._ended:
                self._end("the connection ended before the body")
            elif body.is_full:
                self._pause()
        return body

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
