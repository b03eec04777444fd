"""TLS between a connection and its transport: each sees of it what it would see without.

The event loop's own TLS drops what the library has to say when a handshake fails, so that a client is not told that it
needs a certificate; and it knows no connection that is closed on one side.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING, Any, Final, cast

from cargohold.http.http1.answers import refusal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cargohold.http.http1.connection import Connection
    from cargohold.http.http1.server import Http1Server

HANDSHAKE_SECONDS: Final = 10.0
RECORD_BYTES: Final = 64 * 1024


class Secured(asyncio.BufferedProtocol):
    """The protocol of a transport, and the transport of a connection, which begins when the handshake is done."""

    def __init__(self, server: Http1Server, context: ssl.SSLContext, connection: Connection) -> None:
        self._server = server
        self._connection = connection
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._loop = asyncio.get_running_loop()
        self._is_made = self._is_paused = self._is_ended = self._is_finished = False

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin with the handshake."""
        self._transport = cast("asyncio.Transport", transport)
        self._server.securing[self] = self._server.tick
        self._patience = self._loop.call_later(HANDSHAKE_SECONDS, self._transport.abort)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the buffer is what it is
        """Where the next bytes go; they are taken out before anybody else writes into it."""
        return self._server.cipher_room

    def buffer_updated(self, nbytes: int) -> None:
        """So many bytes have come."""
        self._incoming.write(self._server.cipher_room[:nbytes])
        if self._is_made:
            self._read()
        else:
            self._shake_hands()

    def eof_received(self) -> bool:
        """The client sends no more."""
        self._incoming.write_eof()
        if not self._is_made:
            return False
        self._read()
        return self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        self._patience.cancel()
        self._server.secured(self)
        if self._is_made:
            self._connection.connection_lost(exc)

    def pause_writing(self) -> None:
        """The client takes its answer more slowly than it is made."""
        if self._is_made:
            self._connection.pause_writing()

    def resume_writing(self) -> None:
        """It has taken what there was."""
        if self._is_made:
            self._connection.resume_writing()

    def _shake_hands(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
        except ssl.SSLError as error:
            self._flush()  # the reason, for the client
            if error.reason == "HTTP_REQUEST":
                self._transport.write(refusal(400))
            self._transport.close()
        else:
            self._flush()
            self._patience.cancel()
            self._is_made = True
            self._connection.connection_made(cast("asyncio.BaseTransport", self))
            self._server.secured(self)
            self._read()

    def _read(self) -> None:
        """Hand on what can be read, until there is no more or the connection wants no more."""
        self._connection.may_begin = True
        try:
            while not self._is_paused and not self._is_ended:
                room = self._connection.get_buffer(-1)
                length = self._tls.read(len(room), cast("Any", room))
                if not length:
                    self._end()
                    break
                self._connection.buffer_updated(cast("int", length))
                # There may be hundreds of records: what is in the others waits for its turn.
                self._connection.may_begin = False
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._end()
        except ssl.SSLError:  # records that are none, or an end that TLS was not told of
            self._flush()
            self._transport.abort()
            return
        self._flush()

    def _end(self) -> bool:
        if not self._is_ended:
            self._is_ended = True
            self._connection.eof_received()
        return not self._transport.is_closing()

    def _flush(self) -> None:
        if self._outgoing.pending:
            content = self._outgoing.read()
            if not self._transport.is_closing():
                self._transport.write(content)

    # What the connection calls.

    def get_extra_info(self, name: str) -> Any:  # noqa: ANN401 - as a transport's
        """What the transport knows, and `ssl_object`."""
        return self._tls if name == "ssl_object" else self._transport.get_extra_info(name)

    def set_write_buffer_limits(self, high: int) -> None:
        """As a transport's."""
        self._transport.set_write_buffer_limits(high)

    def get_write_buffer_size(self) -> int:
        """As a transport's."""
        return self._transport.get_write_buffer_size()

    def write(self, content: bytes) -> None:
        """Encrypt and send."""
        if not self._is_finished:
            self._tls.write(content)
            self._flush()

    def writelines(self, parts: Iterable[bytes]) -> None:
        """Encrypt and send, part by part."""
        for part in parts:
            self.write(part)

    def write_eof(self) -> None:
        """Tell the client that no more will come."""
        self._finish()
        if not self._transport.is_closing():
            self._transport.write_eof()

    def close(self) -> None:
        """Tell the client that no more will come, and hear no more of it."""
        self._finish()
        self._transport.close()

    def _finish(self) -> None:
        if not self._is_finished:
            self._is_finished = True
            with contextlib.suppress(
                ssl.SSLError
            ):  # it waits for the client to say the same, which we do not
                self._tls.unwrap()
            self._flush()

    def abort(self) -> None:
        """As a transport's."""
        self._transport.abort()

    def is_closing(self) -> bool:
        """As a transport's."""
        return self._transport.is_closing()

    def pause_reading(self) -> None:
        """Read no more until it is resumed; what has come is kept."""
        self._is_paused = True
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on, soon."""
        self._is_paused = False
        self._loop.call_soon(self._read_on)

    def _read_on(self) -> None:
        self._read()
        if not (self._is_paused or self._transport.is_closing()):
            self._transport.resume_reading()
