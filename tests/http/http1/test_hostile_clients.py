"""Clients that go at once, or take nothing of what they asked for: what is known of them, and what they cost."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING

import pytest

from cargohold.http.http1 import server as server_module
from cargohold.messages import Bytes, Empty
from tests.certificates import Authority
from tests.http.http1.running import GET, LOOPS, running
from tests.http.serving import until

if TYPE_CHECKING:
    from pathlib import Path

    from cargohold.messages import Answer, Request

LARGE = bytes(range(256)) * (16 << 10)


@pytest.mark.parametrize("loop", LOOPS)
def test_address_of_a_client_that_has_gone(loop: str) -> None:
    """One that has reset its connection is answered under its own address, as any other."""
    clients: list[str] = []

    async def handle(request: Request) -> Answer:
        clients.append(request.client)
        return Empty(204, [])

    with running(handle, loop) as server:
        for _ in range(100):
            wire = server.connect()
            wire.send(GET)
            wire.reset()
        with server.connect() as wire:
            assert wire.ask("GET", "/v2/").status == 204
    assert len(clients) > 1
    assert set(clients) == {"127.0.0.1"}


@pytest.mark.parametrize("loop", LOOPS)
def test_large_answer_that_is_not_read(tmp_path: Path, loop: str) -> None:
    """Of an answer that a client of TLS does not read, as much is encrypted as it takes; then it gets all of it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate, key = tmp_path / "certificate", tmp_path / "key"
    authority = Authority().write(tmp_path / "authority")
    authority.issue().write(certificate, key)
    context.load_cert_chain(certificate, key)
    trusting = ssl.create_default_context(cafile=tmp_path / "authority")

    async def handle(_: Request) -> Answer:
        return Bytes(200, [("content-type", "text/plain")], LARGE)

    with running(handle, loop, tls=context) as server, socket.socket() as plain:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plain.settimeout(30)
        plain.connect(("127.0.0.1", int(server.address.rpartition(":")[2])))
        with trusting.wrap_socket(plain, server_hostname="localhost") as client:
            client.sendall(GET)

            def held() -> int:
                (connection,) = server.server.connections
                return connection._transport.get_write_buffer_size()

            until(lambda: server.on_loop(held) > 0)
            assert server.on_loop(held) <= 128 << 10
            received = b""
            while len(received) < len(LARGE) or not received.endswith(LARGE[-256:]):
                received += client.recv(1 << 20)
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert body == LARGE


@pytest.mark.parametrize(("method", "body"), [("GET", b""), ("PUT", b"content")])
def test_heads_are_forgotten(monkeypatch: pytest.MonkeyPatch, method: str, body: bytes) -> None:
    """What was sent with a request is in the server's memory no longer than it is to be remembered."""

    async def handle(_: Request) -> Answer:
        return Empty(204, [])

    def remembers() -> bool:
        heads = server.server.heads
        return any(b"Basic c2VjcmV0" in data for data in (*heads._remembered, *heads._with_lines))

    monkeypatch.setattr(server_module, "FORGET_SECONDS", 10_000)
    with running(handle) as server:
        with server.connect() as wire:
            for _ in range(3):
                wire.ask(method, "/v2/", "Authorization: Basic c2VjcmV0", body=body)
        assert server.on_loop(remembers)
        monkeypatch.setattr(server_module, "FORGET_SECONDS", 1)
        until(lambda: not server.on_loop(remembers))
