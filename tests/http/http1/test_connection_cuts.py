"""Connections below the sockets, where it is decided which bytes come together: that changes no answer."""

from __future__ import annotations

import asyncio
import itertools
import socket
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from cargohold.http.application import Application
from cargohold.http.exchange import answer_faults
from cargohold.http.http1.connection import Connection
from cargohold.http.http1.server import Http1Server
from cargohold.messages import Bytes, Request

if TYPE_CHECKING:
    from cargohold.messages import Answer


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
