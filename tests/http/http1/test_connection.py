"""Connections: what is answered on one, in which order, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from cargohold.messages import Bytes, File, Request
from tests.http.http1.running import GET, LOOPS, MEBIBYTE, ended_after, running
from tests.http.server_cases.echo import Echo
from tests.http.serving import until

if TYPE_CHECKING:
    from pathlib import Path

    from cargohold.messages import Answer
    from tests.http.http1.running import Running
    from tests.http.wire import Wire


@pytest.mark.parametrize(
    "head",
    [
        b"GET /v2/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n",
        b"PUT /hash HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx",
        b"GET /file?name=large&stop=100000 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"GET /v2/ HTTP/1.0\r\n\r\n",
        b"GET /v2/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    ],
)
def test_who_asks_to_close_has_the_end_at_once(server: Running, head: bytes) -> None:
    """`Connection: close`, and HTTP/1.0, end the connection with the answer, which says so (RFC 9112, 9.6)."""
    with server.connect() as wire:
        wire.send(head)
        response = wire.response()
        assert response.status in {200, 201, 206}
        assert response["connection"] == "close"
        assert ended_after(wire) < 5


@pytest.mark.parametrize("loop", list(LOOPS))
@pytest.mark.parametrize("chunk", [0, 100_000])
def test_pieces_stay_as_they_are_as_long_as_they_are_held(loop: str, chunk: int) -> None:
    """Whoever keeps all pieces of a large body has the body, also while others send theirs on the same loop."""
    held: dict[str, list[bytes | memoryview]] = {}

    async def keep(request: Request) -> Answer:
        pieces = held[request.path] = []
        async for piece in request.body:
            pieces.append(piece)
            await asyncio.sleep(0.001)
        return Bytes(201, [], b"")

    contents = {f"/{number}": os.urandom(1000) * 12_000 for number in range(3)}
    with running(keep, loop) as server, contextlib.ExitStack() as clients:
        wires = [clients.enter_context(server.connect()) for _ in contents]

        def send(wire: Wire, path: str) -> None:
            content = contents[path]
            if not chunk:
                wire.request("PUT", path, body=content)
                return
            wire.request("PUT", path, "Transfer-Encoding: chunked")
            for start in range(0, len(content), chunk):
                wire.chunk(content[start : start + chunk])
            wire.chunk(b"")

        with ThreadPoolExecutor() as pool:
            list(pool.map(send, wires, contents))
        for wire in wires:
            assert wire.response().status == 201
            assert wire.ask("GET", "/other").status == 201
    assert {path: b"".join(held[path]) for path in contents} == contents


def test_after_what_is_no_chunk_nothing_is_taken(server: Running) -> None:
    """What follows a broken chunk is no part of the body and no request, however late it comes (RFC 9112, 6.3)."""
    with server.connect() as wire:
        wire.request("PUT", "/hash?pause=0.3", "Transfer-Encoding: chunked")
        wire.chunk(b"abc")
        time.sleep(0.1)
        wire.send(b"no chunk\r\n")
        time.sleep(0.1)
        wire.send(b"3\r\ndef\r\n0\r\n\r\n" + GET)
        response = wire.response()
        assert response.status == 400
        assert response["connection"] == "close"
        assert wire.closed()


def test_a_body_that_stalled_ends_the_connection_at_once(server: Running) -> None:
    """After a 408 the rest of the body is not taken for a request: the answer says that it is the last."""
    with server.connect() as wire:
        wire.request("PUT", "/hash", "Content-Length: 10")
        response = wire.response()
        assert (response.status, response["connection"]) == (408, "close")
        assert ended_after(wire) < 5


def test_who_still_sends_gets_the_refusal(server: Running) -> None:
    """A refusal reaches a client that goes on to send: what it sends is dropped for a while, with no reset."""
    with server.connect() as wire:
        wire.send(b"no request\r\n\r\n")
        for _ in range(20):
            wire.send(b"x" * 100_000)
        assert wire.response().status == 400
        assert wire.closed()


@pytest.mark.parametrize("expectation", ["Expect: 100-continue", "Expect: miracles"])
def test_a_body_is_taken_whether_leave_was_asked_for_or_not(server: Running, expectation: str) -> None:
    """Who sends the body at once is not told to go on, and other expectations are not heeded (RFC 9110, 10.1.1)."""
    with server.connect() as wire:
        wire.request("PUT", "/hash", expectation, body=b"abc")
        assert wire.response().status == 201
        wire.request("PUT", "/hash", "Expect: 100-continue", "Transfer-Encoding: chunked")
        assert wire.response().status == 100
        wire.chunk(b"")
        assert wire.response().status == 201


def test_an_old_client_is_sent_no_interim_answer(server: Running) -> None:
    """HTTP/1.0 knows no 100 (RFC 9110, 15.2)."""
    with server.connect() as wire:
        wire.send(b"PUT /hash HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        time.sleep(0.1)
        wire.send(b"abc")
        assert wire.response().status == 201


def test_what_was_sent_before_the_end_is_answered(server: Running) -> None:
    """A client that has sent all it will gets all its answers (RFC 9112, 9.3.2), then the end."""
    with server.connect() as wire:
        for size in (100_000, 1, 300_000):
            wire.request("GET", f"/bytes?n={size}")
        wire.request("GET", "/file?name=large&start=5&stop=100005")
        wire.finish()
        assert [len(wire.response().body) for _ in range(4)] == [100_000, 1, 300_000, 100_000]
        assert wire.closed()


@pytest.mark.parametrize("target", ["/bytes?n=3000000", "/file?name=large&stop=3000000", "/v2/"])
def test_requests_in_a_row_stay_in_step(server: Running, target: str) -> None:
    """Answers that are larger than what the system takes at once follow each other whole and in order."""
    with server.connect(receive_buffer=4096) as wire:
        for _ in range(4):
            wire.request("GET", target)
            wire.request("HEAD", "/bytes?n=5")
        for _ in range(4):
            response = wire.response()
            assert response.complete
            assert len(response.body) in {3_000_000, len(response.body) if target == "/v2/" else -1}
            assert wire.response(to="HEAD")["content-length"] == "5"


SCRIPTS = {
    "nothing": b"",
    "a request": GET,
    "two requests": GET + b"GET /sleep?seconds=0.1 HTTP/1.1\r\nHost: a\r\n\r\n",
    "large answers": b"GET /bytes?n=3000000 HTTP/1.1\r\nHost: a\r\n\r\n" * 2,
    "a download": b"GET /file?name=large HTTP/1.1\r\nHost: a\r\n\r\n",
    "an upload": b"PUT /hash HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000,
    "an upload in chunks": b"PUT /hash HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\nz\r\n",
    "a wait for leave": b"PUT /hash HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n",
    "an early answer": b"PUT /early?status=404 HTTP/1.1\r\nHost: a\r\nContent-Length: 9999\r\n\r\n"
    + b"x" * 99,
    "no request": b"no request\r\n\r\nand more",
}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_clients_that_go_at_any_moment_leave_nothing(server: Running, script: bytes) -> None:
    """Wherever a client is when its connection is reset, closed or half closed, nothing is left, nor said, of it."""
    places = sorted({0, 1, 10, 60, len(script) // 2, len(script) - 1, len(script)})
    for place, pause, ending in itertools.product(places, (0.0, 0.003), ("reset", "close", "finish")):
        wire = server.connect()
        wire.socket.setblocking(False)
        wire.socket.send(script[: max(0, place)])
        time.sleep(pause)
        if ending == "finish":
            wire.finish()
            time.sleep(pause)
        if ending == "reset":
            wire.reset()
        else:
            wire.socket.close()
    server.until_no_connection()


def test_who_goes_before_the_answer_is_sent_nothing(tmp_path: Path) -> None:
    """An answer, leave to send a body, and a file for who has gone are not written, and nobody is told of a fault."""
    (tmp_path / "large").write_bytes(b"x" * MEBIBYTE)
    echo = Echo(os.fspath(tmp_path))

    async def late(request: Request) -> Answer:
        await asyncio.sleep(0.2)
        return await echo(request)

    for loop in LOOPS:
        with running(late, loop) as server:
            for target in ("/bytes?n=10", "/bytes?n=100000", "/file?name=large", "/hash"):
                wire = server.connect()
                length = 5 if target == "/hash" else 0
                wire.request("PUT", target, "Expect: 100-continue", f"Content-Length: {length}")
                time.sleep(0.05)
                wire.reset()
            server.until_no_connection()


def test_an_unforeseen_error_ends_its_connection_alone() -> None:
    """An answer that cannot be sent is logged, and its connection cut off; the others go on."""

    async def handle(request: Request) -> Answer:
        return Bytes(200, [("x-list", [])], b"") if request.path == "/bad" else Bytes(200, [], b"")  # type: ignore[list-item]

    for loop in LOOPS:
        with running(handle, loop) as server, server.connect() as bad, server.connect() as good:
            assert good.ask("GET", "/").status == 200
            bad.request("GET", "/bad")
            assert bad.closed()
            assert good.ask("GET", "/").status == 200
            assert len(server.faults) == 1
            server.faults.clear()


@pytest.mark.parametrize("loop", LOOPS)
def test_files_that_cannot_be_sent_are_told_of(tmp_path: Path, loop: str) -> None:
    """A file that has gone is a 404, one that cannot be opened a 500 and a line in the log (RFC 9110, 15.6.1)."""
    answers = {
        "/absent": File(200, [("content-length", "9")], os.fspath(tmp_path / "absent")),
        "/folder": File(200, [("content-length", "9")], os.fspath(tmp_path / "file" / "below")),
    }
    (tmp_path / "file").touch()

    async def handle(request: Request) -> Answer:
        return answers[request.path]

    with running(handle, loop, checked=False) as server, server.connect() as wire:
        assert wire.ask("GET", "/absent").status == 404
        assert wire.ask("GET", "/folder").status == 500
        assert wire.ask("HEAD", "/absent")["content-length"] == "9"
        assert len(server.faults) == 1
        server.faults.clear()


def test_a_stop_ends_what_is_idle_and_lets_the_rest_finish(server: Running) -> None:
    """Who is idle is let go at once; an answer that is being made is sent, as the last of its connection."""
    with server.connect() as idle, server.connect() as busy:
        assert idle.ask("GET", "/v2/").status == 200
        busy.request("GET", "/sleep?seconds=0.5")
        until(lambda: server.on_loop(lambda: len(server.server.connections)) == 2)
        time.sleep(0.1)
        server.loop.call_soon_threadsafe(server.server.stop)
        assert ended_after(idle) < 5
        response = busy.response()
        assert (response.status, response["connection"]) == (204, "close")
        assert busy.closed()
