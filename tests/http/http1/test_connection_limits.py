"""Connections: what one may hold of the server, how long it may take, and how many there are."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from typing import TYPE_CHECKING

import pytest

from cargohold.http.http1 import connection, files, sending
from cargohold.http.http1 import server as serving_module
from cargohold.http.http1.connection import AHEAD_BYTES, WIDE_BYTES
from cargohold.messages import Bytes, Request
from tests.http.http1.running import GET, LOOPS, MEBIBYTE, ended_after, running
from tests.http.server_cases.echo import Echo
from tests.http.serving import until

if TYPE_CHECKING:
    from pathlib import Path

    from cargohold.messages import Answer
    from tests.http.http1.running import Running
    from tests.http.wire import Wire


def fill(wire: Wire, data: bytes) -> None:
    """Send this again and again, until neither the server nor the system between takes more."""
    wire.socket.settimeout(0.3)
    with contextlib.suppress(TimeoutError):
        while True:
            wire.socket.sendall(data)


def test_others_have_their_turn() -> None:
    """Who sends thousands of requests at once is answered in turn with others, not before them."""
    order: list[str] = []

    async def handle(request: Request) -> Answer:
        order.append(request.path)
        if request.path == "/first":
            time.sleep(0.5)  # noqa: ASYNC251 - both have sent all when the loop turns again
        return Bytes(200, [], b"")

    for loop in LOOPS:
        order.clear()
        with running(handle, loop) as server, server.connect() as many, server.connect() as one:
            one.ask("GET", "/")
            many.send(GET.replace(b"/v2/", b"/first") + GET.replace(b"/v2/", b"/many") * 1000)
            until(lambda: "/first" in order)
            one.ask("GET", "/one")
            for _ in range(1001):
                assert many.response().status == 200
        assert order.index("/one") < 100


def test_little_is_read_ahead(server: Running) -> None:
    """Of what a client sends before its turn no more than 128 KiB are held, however much it sends."""
    with server.connect() as wire:
        wire.request("GET", "/sleep?seconds=2")
        fill(wire, b"GET /" + b"a" * 100_000)
        held = server.on_loop(lambda: [len(found._pending) for found in server.server.connections])
        assert 0 < sum(held) < 2 * AHEAD_BYTES


def held_of_bodies(server: Running) -> list[int]:
    """How much nobody has taken yet, of each body."""
    bodies = [found._body for found in server.server.connections]
    return [body.waiting for body in bodies if body is not None]


@pytest.mark.parametrize(
    ("others", "room", "most"),
    [(0, 8 * MEBIBYTE, WIDE_BYTES), (15, 8 * MEBIBYTE, MEBIBYTE // 2), (15, MEBIBYTE // 2, AHEAD_BYTES)],
)
@pytest.mark.parametrize("coding", ["Content-Length: 900000000", "Transfer-Encoding: chunked"])
def test_a_body_that_nobody_reads_waits_outside(  # noqa: PLR0913, PLR0917 - whose room is what is tried
    server: Running, monkeypatch: pytest.MonkeyPatch, coding: str, others: int, room: int, most: int
) -> None:
    """Of a body whose reader is busy no more than a piece of a MiB is held beside what was sent with the head.

    It is less where many bodies are being received: of all together what there is room for, or 64 KiB of each.
    """
    monkeypatch.setattr(connection, "_ALL_BODIES_BYTES", room)
    with contextlib.ExitStack() as held:
        for _ in range(others):
            held.enter_context(server.connect()).request("PUT", "/hash", "Content-Length: 9")
        until(lambda: server.on_loop(lambda: server.server.bodies) == others)
        wire = held.enter_context(server.connect())
        wire.request("PUT", "/sleep?seconds=2", coding)
        until(lambda: server.on_loop(lambda: server.server.bodies) == others + 1)
        rooms = server.on_loop(lambda: {len(found.get_buffer(-1)) for found in server.server.connections})
        assert rooms == {most}
        fill(wire, b"10000\r\n" + b"a" * 0x10000 + b"\r\n")
        assert 0 < sum(server.on_loop(lambda: held_of_bodies(server))) <= most + AHEAD_BYTES
    server.until_no_connection()
    assert server.server.bodies == 0


def test_where_many_come_nobody_has_a_room(server: Running) -> None:
    """Of large bodies the first have rooms of their own, and lose them when more come; they are whole all the same."""

    def rooms() -> int:
        found = [each._body for each in server.server.connections]
        return sum(len(body._room) for body in found if body is not None) + len(server.server.rooms._kept)

    with contextlib.ExitStack() as held:
        wires = [held.enter_context(server.connect()) for _ in range(12)]
        for number, wire in enumerate(wires):
            wire.request("PUT", "/hash", f"Content-Length: {3 * MEBIBYTE}")
            wire.send(b"a" * MEBIBYTE)
            until(lambda: server.on_loop(lambda: server.server.bodies) == number + 1)  # noqa: B023
            if number == 0:
                until(lambda: server.on_loop(rooms) > 0)
        for wire in wires:
            wire.send(b"b" * MEBIBYTE)
        until(lambda: server.on_loop(rooms) == 0)
        whole = hashlib.sha256(b"a" * MEBIBYTE + b"b" * MEBIBYTE + b"c" * MEBIBYTE).hexdigest().encode()
        for wire in wires:
            wire.send(b"c" * MEBIBYTE)
            assert whole in wire.response().body


def test_tiny_chunks_are_read_in_small_portions(server: Running) -> None:
    """A body in chunks of a byte does not keep others waiting for what a whole buffer of them takes, and is whole."""
    with server.connect() as wire:
        wire.request("PUT", "/hash", "Transfer-Encoding: chunked")
        wire.send(b"1\r\nx\r\n" * 100_000 + b"20000\r\n" + b"y" * 0x20000 + b"\r\n0\r\n\r\n")
        response = wire.response()
        whole = hashlib.sha256(b"x" * 100_000 + b"y" * 0x20000).hexdigest()
        assert response.status == 201
        assert whole.encode() in response.body


@pytest.fixture
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients may take nothing for half a second only."""
    monkeypatch.setattr(sending, "STALL_SECONDS", 0.5)
    monkeypatch.setattr(files, "STALL_SECONDS", 0.5)


@pytest.mark.usefixtures("impatience")
@pytest.mark.parametrize(
    "targets",
    [
        ["/bytes?n=30000000"],
        ["/file?name=large"],
        ["/bytes?n=60000"] * 100,
        [*["/bytes?n=60000"] * 100, "/file?name=large"],
    ],
    ids=["bytes", "file", "many", "many, then a file"],
)
def test_who_takes_nothing_is_let_go(server: Running, targets: list[str]) -> None:
    """A client that reads nothing of its answers loses its connection after a while, whatever it waits for."""
    with server.connect(receive_buffer=4096) as wire:
        for target in targets:
            wire.request("GET", target)
        until(lambda: server.server.connections)
        until(lambda: not server.server.connections)


@pytest.mark.usefixtures("impatience")
@pytest.mark.parametrize("target", ["/bytes?n=12000000", "/file?name=large&stop=12000000"])
def test_who_takes_little_is_not_let_go(server: Running, target: str) -> None:
    """A client that reads slowly gets all of its answer, though it takes longer than one may take nothing."""
    with server.connect(receive_buffer=65536) as wire:
        wire.request("GET", target)
        start = time.monotonic()
        received = 0
        while received < 12_000_000:
            received += len(wire.socket.recv(200_000))
            time.sleep(0.01)
        assert time.monotonic() - start > 0.5


def test_half_a_head_is_not_waited_for_for_ever(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who does not send the whole of a head in time is let go."""
    monkeypatch.setattr(serving_module, "HEAD_SECONDS", 0)
    with server.connect() as wire:
        wire.send(b"GET / HTTP/1.1\r\nHo")
        assert ended_after(wire) < 10


def test_no_more_are_taken_than_there_is_room_for(tmp_path: Path) -> None:
    """Those who come beyond the most wait, and get their turn when one of the others goes."""
    for loop in LOOPS:
        with running(Echo(os.fspath(tmp_path)), loop, most=2) as server:
            first, second, third = (server.connect() for _ in range(3))
            for wire in (first, second):
                assert wire.ask("GET", "/v2/").status == 200
            third.send(GET)
            third.socket.settimeout(0.3)
            with pytest.raises(TimeoutError):
                third.response()
            assert len(server.server.connections) == 2
            first.socket.close()
            third.socket.settimeout(10)
            assert third.response().status == 200
            second.socket.close()
            third.socket.close()
