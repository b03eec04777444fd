"""HTTP/1.1 within this process: takes the connections of a listener, as many at once as there is room for."""

from __future__ import annotations

import asyncio
import errno
import logging
from functools import partial
from typing import TYPE_CHECKING, Final

from cargohold.http.http1.connection import AHEAD_BYTES, CRUMBS_BYTES, WIDE_BYTES, Connection
from cargohold.http.http1.files import PIECE_BYTES, Files
from cargohold.http.http1.head import Heads
from cargohold.http.http1.rooms import Rooms
from cargohold.http.http1.tls import RECORD_BYTES, Secured

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable

    from cargohold.http.application import Application

FORGET_SECONDS: Final = 300
"""After which the heads of requests are not remembered any more: credentials are in them."""
HEAD_SECONDS: Final = 10
_TICK_SECONDS: Final = 1.0
_AT_ONCE: Final = 64
# What a handshake may take in any case, where others wait.
_HURRIED_TICKS: Final = 2
_NO_DESCRIPTORS: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

_log = logging.getLogger(__name__)


class Http1Server:
    """Serves `application` to the clients of `listener`, secured with `tls` where that is given.

    At most `most` connections at once; more wait in the listener's queue. Who does not send the whole head of a request
    within HEAD_SECONDS of the connection's beginning, or of the answer before, is let go.

    Attributes, for connections: `application`, `connections`, `heads`, `files`; `securing` (handshakes, with the
    tick of their beginning); `bodies` (how many are being received); `rooms` (for large ones); `buffer` and views of
    it, `wide_room` (the whole), `room`, `narrow_room` and `slit`; `cipher_room` (for what is encrypted); `tick` (the
    seconds that have passed, roughly); `is_stopping`.
    """

    def __init__(
        self,
        application: Application,
        listener: socket.socket,
        *,
        most: int,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.application = application
        self.connections: set[Connection] = set()
        self.heads = Heads()
        self.files = Files()
        self.buffer = bytearray(WIDE_BYTES)
        self.wide_room = memoryview(self.buffer)
        self.room = self.wide_room[:PIECE_BYTES]
        self.narrow_room = self.room[:AHEAD_BYTES]
        self.slit = self.room[:CRUMBS_BYTES]
        self.rooms = Rooms()
        self.bodies = 0
        self.securing: dict[Secured, int] = {}
        self.cipher_room = memoryview(bytearray(RECORD_BYTES if tls else 0))
        self.tick = 0
        self.is_stopping = False
        self._listener = listener
        self._most = most
        self._tls = tls
        self._arriving: set[asyncio.Task[None]] = set()
        self._is_listening = False
        self._takes_more = True
        self._changed = asyncio.Event()

    async def serve(self, ready: Callable[[], None]) -> None:
        """Serve until it is stopped and the last request has been answered; `ready` is called at its beginning."""
        self._listener.setblocking(False)
        self._listen()
        ready()
        while not self.is_stopping or self._arriving or self.securing or self.connections:
            self._changed.clear()
            try:
                async with asyncio.timeout(_TICK_SECONDS):
                    await self._changed.wait()
            except TimeoutError:
                self._turn()
            if self.is_stopping:
                self._close_idle()
        self.files.close()

    def stop(self) -> None:
        """Take no more connections, and let those that there are end with the request that they are at."""
        self.is_stopping = True
        self.take_no_more()
        self._listener.close()
        self._changed.set()

    def listener(self) -> socket.socket:
        """Another handle of the socket, to be closed; not to be had once the server has ended."""
        return self._listener.dup()

    def take_no_more(self) -> None:
        """Leave new connections to other processes that listen; those that are open go on."""
        self._takes_more = False
        self._listen_no_more()

    def forget(self, connection: Connection) -> None:
        """It has ended, and another may take its place."""
        self.connections.discard(connection)
        self._note()

    def secured(self, handshake: Secured) -> None:
        """It has succeeded or failed."""
        self.securing.pop(handshake, None)
        self._note()

    def _note(self) -> None:
        if self.is_stopping:
            self._changed.set()
        else:
            self._listen()

    def _listen(self) -> None:
        if self._takes_more and not self._is_listening and self._has_room():
            asyncio.get_running_loop().add_reader(self._listener, self._take)
            self._is_listening = True

    def _listen_no_more(self) -> None:
        if self._is_listening:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._is_listening = False

    def _turn(self) -> None:
        """Once a second: let go of who is silent, and take others in their place."""
        self.tick += 1
        if self.tick % FORGET_SECONDS == 0:
            self.heads.forget()
        oldest = self.tick - HEAD_SECONDS
        for connection in list(self.connections):
            if connection.silent_since is not None and connection.silent_since < oldest:
                connection.close()
        self._listen()

    def _close_idle(self) -> None:
        for connection in list(self.connections):
            connection.close_if_idle()

    def _has_room(self) -> bool:
        return len(self.connections) + len(self.securing) + len(self._arriving) < self._most

    def _make_room(self) -> bool:
        """Whether one could be let go whose handshake has lasted longest: those of a flood keep nobody out."""
        for handshake, began in self.securing.items():
            if self.tick - began < _HURRIED_TICKS:
                break
            self.secured(handshake)
            handshake.abort()
            return True
        return False

    def _take(self) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(_AT_ONCE):
            if not (self._has_room() or self._make_room()):
                self._listen_no_more()
                return
            try:
                client, place = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno in _NO_DESCRIPTORS:
                    _log.error("no further connection can be taken: %s", error.strerror)
                    self._listen_no_more()  # until the next tick
                    return
                raise
            client.setblocking(False)
            # One that has reset its connection has no address any more, and what it has sent is answered.
            address = place[0] if isinstance(place, tuple) else ""
            arriving = loop.create_task(self._arrive(client, address))
            self._arriving.add(arriving)
            arriving.add_done_callback(self._arrived)

    def _arrived(self, arriving: asyncio.Task[None]) -> None:
        self._arriving.discard(arriving)
        self._note()

    async def _arrive(self, client: socket.socket, address: str) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(partial(self._protocol, address), client)
        except OSError:
            client.close()  # it has gone: there is no one to tell

    def _protocol(self, address: str) -> asyncio.BaseProtocol:
        connection = Connection(self, address)
        return connection if self._tls is None else Secured(self, self._tls, connection)
