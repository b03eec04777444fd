"""Requests that are answered before their connection's task is awake: in their turn, and none beyond the last."""

from __future__ import annotations

import asyncio
import itertools
import socket
import ssl
import time
from typing import TYPE_CHECKING

import pytest

from cargohold.messages import Bytes
from tests.certificates import Authority
from tests.http.http1.running import LOOPS, running
from tests.http.wire import TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cargohold.messages import Answer, Request
    from tests.http.http1.running import Running

ASKING = b"GET /%b HTTP/1.1\r\nHost: registry\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: registry\r\nConnection: close\r\n\r\n"
MANY = 200


@pytest.fixture
def context(tmp_path: Path) -> ssl.SSLContext:
    """A server's, with a certificate for localhost."""
    Authority().issue().write(tmp_path / "certificate", tmp_path / "key")
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(tmp_path / "certificate", tmp_path / "key")
    return made


class Records:
    """A connection by TLS on which several records are sent at once."""

    def __init__(self, server: Running) -> None:
        host, _, port = server.address.removeprefix("http://").rpartition(":")
        self._socket = socket.create_connection((host, int(port)), TIMEOUT)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self._tls = context.wrap_bio(self._incoming, self._outgoing)
        self._until_done(self._tls.do_handshake)

    def send(self, *records: bytes) -> None:
        for record in records:
            self._tls.write(record)
        self._socket.sendall(self._outgoing.read())

    def answers(self, number: int) -> bytes:
        """What is sent until there are so many answers, or until the connection ends."""
        content = b""
        while content.count(b"HTTP/1.1 200") < number:
            piece = self._until_done(lambda: self._tls.read(1 << 16))
            if not piece:
                break
            content += piece
        return content

    def close(self) -> None:
        self._socket.close()

    def _until_done(self, step: Callable[[], bytes | None]) -> bytes:
        while True:
            try:
                return step() or b""
            except ssl.SSLWantReadError:
                self._socket.sendall(self._outgoing.read())
                arrived = self._socket.recv(1 << 16)
                if arrived:
                    self._incoming.write(arrived)
                else:
                    self._incoming.write_eof()
            finally:
                self._socket.sendall(self._outgoing.read())


@pytest.mark.parametrize("loop", LOOPS)
def test_nothing_is_answered_after_the_last_request(loop: str, context: ssl.SSLContext) -> None:
    """What a client sends behind a request with `Connection: close` is not done (RFC 9112, 9.6)."""
    asked = list[str]()

    async def handle(request: Request) -> Answer:
        asked.append(request.path)
        return Bytes(200, [], b"")

    with running(handle, loop, tls=context) as server:
        for _ in range(5):
            records = Records(server)
            records.send(LAST, ASKING % b"beyond")
            assert records.answers(2).count(b"HTTP/1.1 200") == 1
            records.close()
    assert asked == ["/last"] * 5


@pytest.mark.parametrize("loop", LOOPS)
def test_others_have_their_turn(loop: str, context: ssl.SSLContext) -> None:
    """However many requests a client sends at once, the loop does what else there is between them."""
    seen = list[str]()

    async def handle(request: Request) -> Answer:
        seen.append(request.path)
        asyncio.get_running_loop().call_soon(seen.append, "others")
        return Bytes(200, [], b"")

    with running(handle, loop, tls=context) as server:
        records = Records(server)
        for _ in range(5):
            records.send(ASKING % b"again")
            records.answers(1)
        seen.clear()
        records.send(*[ASKING % b"again"] * MANY)
        assert records.answers(MANY).count(b"HTTP/1.1 200") == MANY
        records.close()
    assert seen.count("/again") == MANY
    assert ("/again", "/again") not in itertools.pairwise(seen)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_limit_that_is_over_before_the_task_is_awake(loop: str) -> None:
    """It is told to who set it, and the connection goes on."""

    async def handle(request: Request) -> Answer:
        if request.path == "/long":
            try:
                async with asyncio.timeout(0.01):
                    time.sleep(0.05)  # noqa: ASYNC251 - the loop itself is late
                    await asyncio.Event().wait()
            except TimeoutError:
                return Bytes(200, [], b"too late")
        return Bytes(200, [], b"in time")

    with running(handle, loop) as server:
        for _ in range(5):
            with server.connect() as wire:
                assert wire.ask("GET", "/long").body == b"too late"
                assert wire.ask("GET", "/short").body == b"in time"
