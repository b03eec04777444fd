"""What a connection sends: answers from memory, and files, as fast as the client takes them."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING, Final

from cargohold.http.exchange import error_answer
from cargohold.http.http1.answers import encode
from cargohold.http.http1.files import STALL_SECONDS, CutOffError, Outlet
from cargohold.messages import Bytes, File
from cargohold.types.errors import BlobUnknown, RegistryError

if TYPE_CHECKING:
    from cargohold.http.http1.server import Http1Server
    from cargohold.messages import Answer, Request

_COPIED_BYTES: Final = 16 * 1024  # a body of so many is sent with the head, as one
ENCRYPTED_BYTES: Final = 64 * 1024  # of an answer, at once

_log = logging.getLogger(__name__)


class Sender(asyncio.BufferedProtocol):
    """The sending part of a connection, which sets `_transport` and `_scheme` when it is made."""

    __slots__ = ("_is_lost", "_loop", "_scheme", "_server", "_transport", "_writable")

    _transport: asyncio.Transport
    _scheme: str

    def __init__(self, server: Http1Server) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._writable: asyncio.Future[None] | None = None
        self._is_lost = False

    def pause_writing(self) -> None:
        """The client takes its answer more slowly than it is made."""
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        """It has taken what there was."""
        if self._writable is not None:
            resolve(self._writable)
            self._writable = None

    def _send(self, answer: Answer, request: Request, *, keeps: bool) -> None:
        if self._is_lost:
            return
        to_head = request.method == "HEAD"
        encoded = encode(answer, request.id, to_head=to_head, last=not keeps)
        if type(answer) is Bytes and not to_head:
            if len(answer.body) <= _COPIED_BYTES:
                self._transport.write(encoded + answer.body)
            else:
                self._transport.writelines((encoded, answer.body))
        else:
            self._transport.write(encoded)

    async def _send_in_pieces(self, answer: Bytes, request: Request, *, keeps: bool) -> None:
        """Through TLS, which holds what it has encrypted until the client takes it, and keeps most of that memory."""
        self._transport.write(encode(answer, request.id, to_head=False, last=not keeps))
        body = memoryview(answer.body)
        while body and not self._is_lost:
            self._transport.write(body[:ENCRYPTED_BYTES])
            body = body[ENCRYPTED_BYTES:]
            await self._drained()

    async def _send_file(self, answer: File, request: Request, *, keeps: bool) -> bool:
        """Send the file of an answer; whether the connection can go on. Raises CutOffError, and OSError."""
        try:
            file = await self._server.files.open(answer.path)
        except FileNotFoundError:
            self._send(error_answer(BlobUnknown()), request, keeps=keeps)
            return keeps
        except OSError:
            _log.exception("%s %s failed", request.method, request.path)
            self._send(error_answer(RegistryError()), request, keeps=keeps)
            return keeps
        try:
            length = int(next(value for name, value in answer.headers if name == "content-length"))
            encoded = encode(answer, request.id, to_head=False, last=not keeps)
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


def resolve(future: asyncio.Future[None]) -> None:
    """Let who waits for it go on."""
    if not future.done():
        future.set_result(None)
