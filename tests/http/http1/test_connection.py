"""Connections: what one may do to the server and to others, in which order, and for how long."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import os
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cargohold.http.application import Application
from cargohold.http.exchange import answer_faults
from cargohold.http.http1 import connection, files
from cargohold.http.http1 import server as serving_module
from cargohold.http.http1.connection import AHEAD_BYTES, WIDE_BYTES, Connection
from cargohold.http.http1.server import Http1Server
from cargohold.messages import Bytes, File, Request
from tests.http.http1.running import LOOPS, running
from tests.http.server_cases.echo import Echo
from tests.http.serving import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cargohold.messages import Answer
    from tests.http.http1.running import Running
    from tests.http.wire import Wire

MEBIBYTE = 1 << 20
GET = b"GET /v2/ HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture(params=list(LOOPS))
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Running]:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(64 * MEBIBYTE)
    with running(Echo(os.fspath(tmp_path)), request.param) as started:
        yield started


def ended_after(wire: Wire) -> float:
    """Seconds until the server ends the connection."""
    start = time.monotonic()
    assert wire.closed()
    return time.monotonic() - start


def fill(wire: Wire, data: bytes) -> None:
    """Send this again and again, until neither the server nor the system between takes more."""
    wire.socket.settimeout(0.3)
    with contextlib.suppress(TimeoutError):
        while True:
            wire.socket.sendall(data)


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
    """The lengths of the pieces that nobody has taken yet, of each body."""
    bodies = [found._body for found in server.server.connections]
    return [len(body._piece) for body in bodies if body is not None]


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
    monkeypatch.setattr(connection, "STALL_SECONDS", 0.5)
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


def test_half_a_head_is_not_waited_for_for_ever(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who does not send the whole of a head in time is let go."""
    monkeypatch.setattr(serving_module, "HEAD_SECONDS", 0)
    with server.connect() as wire:
        wire.send(b"GET / HTTP/1.1\r\nHo")
        assert ended_after(wire) < 10


# Below the sockets: which bytes come together is decided here.


class Paper(asyncio.Transport):
    """A transport that keeps what is written, and says whether it may be read from."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.reads = True
        self.has_ended = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("127.0.0.1", 1)}.get(name, default)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    def write_eof(self) -> None:
        self.has_ended = True

    def is_closing(self) -> bool:
        return self.has_ended

    def close(self) -> None:
        self.has_ended = True

    def abort(self) -> None:
        self.has_ended = True


def answered(data: bytes, cuts: list[int]) -> tuple[list[Any], bytes]:
    """The requests, each with its body, and the answers to bytes that come in pieces; reading may pause between."""
    requests: list[Any] = []

    async def handle(request: Request) -> Answer:
        body = b"".join([piece async for piece in request.body]) if request.length != 0 else b""
        requests.append((request.method, request.path, request.headers.values(), request.length, body))
        await asyncio.sleep(0)
        return Bytes(200, [], str(len(requests)).encode())

    async def talk() -> bytes:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            server = Http1Server(Application(answer_faults(handle), stall_timeout=5), listener, most=1)
            paper, talking = Paper(), Connection(server)
            talking.connection_made(paper)
            places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
            for start, end in itertools.pairwise(places):
                at = start
                while at < end:
                    for _ in range(1000):
                        if paper.reads or paper.has_ended:
                            break
                        await asyncio.sleep(0)
                    if paper.has_ended:
                        break
                    room = talking.get_buffer(-1)
                    size = min(len(room), end - at)
                    room[:size] = data[at : at + size]
                    talking.buffer_updated(size)
                    at += size
                if end % 2:
                    await asyncio.sleep(0)
            talking.eof_received()
            await asyncio.wait_for(talking.task, 10)
            talking.connection_lost(None)
            server.files.close()
            return paper.written

    written = asyncio.run(talk())
    lines = [line for line in written.split(b"\r\n") if not line.startswith(b"date: ")]
    return requests, b"\r\n".join(lines)


TARGETS = st.sampled_from([b"/", b"/a?b=c", b"http://b/x", b"/" + b"l" * 300])
SMALL = st.binary(max_size=30)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """A request as it is sent."""
    target, content = draw(TARGETS), draw(SMALL)
    kind = draw(st.sampled_from(["none", "sized", "chunked", "expecting"]))
    head = b"%s %s HTTP/1.1\r\nHost: a\r\n" % (b"GET" if kind == "none" else b"PUT", target)
    if kind == "none":
        return head + b"\r\n"
    if kind == "chunked":
        half = len(content) // 2
        parts = [part for part in (content[:half], content[half:]) if part]
        chunks = b"".join(b"%x;e\r\n%s\r\n" % (len(part), part) for part in parts)
        return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\nT: 1\r\n\r\n"
    expecting = b"Expect: x\r\n" if kind == "expecting" else b""
    return head + expecting + b"Content-Length: %d\r\n\r\n" % len(content) + content


@settings(deadline=None, max_examples=60)
@given(
    st.lists(messages(), max_size=6),
    st.sampled_from([b"", b"\r\n", b"no request\r\n\r\n", b"GET / HTTP/1.1\r\nHos"]),
    st.lists(st.integers(0, 3000), max_size=12),
)
def test_the_same_bytes_are_the_same_requests(requests: list[bytes], rest: bytes, cuts: list[int]) -> None:
    """However requests in a row are cut into pieces, the same are answered in the same way (RFC 9112, 9.3.2)."""
    data = b"\r\n".join(requests) + rest
    whole = answered(data, [])
    assert len(whole[0]) == len(requests)
    assert answered(data, cuts) == whole
    assert answered(data, list(range(len(data)))) == whole
