"""A client that falls silent in mid-PATCH, without ending its connection, keeps no one from its session."""

from __future__ import annotations

import itertools
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.pushing import data_file, digest_of, one_to_each, pull_blob, start_upload
from tests.http.serving import until
from tests.http.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.conftest import Start
    from tests.e2e.server import Server
    from tests.http.wire import Response

PATIENCE = 2.0
"""Seconds in which each answer of the resume must come, while the frozen connection stands."""
SIZE = 3_000_000
HELD_BACK = 1 << 20
"""The most that a store may keep in memory of what it was given."""


class Frozen:
    """A PATCH of `content` that has sent so much of it and then nothing more."""

    def __init__(self, wire: Wire, location: str, content: bytes, sent: int, *headers: str) -> None:
        self._wire = wire
        self._rest = content[sent:]
        self._chunked = "Transfer-Encoding: chunked" in headers
        lengths = () if self._chunked else (f"Content-Length: {len(content)}",)
        wire.request("PATCH", location, *headers, *lengths)
        if sent:
            self._send(content[:sent])

    def _send(self, data: bytes) -> None:
        if self._chunked:
            self._wire.chunk(data)
        else:
            self._wire.send(data)

    def wake(self) -> Response | None:
        """Send the rest; the answer, None where the connection has been closed."""
        try:
            self._send(self._rest)
            if self._chunked:
                self._wire.chunk(b"")
            return self._wire.response(to="PATCH")
        except (ConnectionError, EOFError):
            return None


@pytest.fixture
def wires(start: Start) -> Iterator[tuple[Server, list[Wire]]]:
    """A server with two workers, and connections to each that lose patience."""
    server = start({"workers": 2})
    with one_to_each(server) as opened:
        for wire in opened:
            wire.socket.settimeout(PATIENCE)
        yield server, opened


def held(wire: Wire, location: str) -> int:
    """How many bytes the session holds, by its status."""
    response = wire.ask("GET", location)
    assert response.status == 204
    last = int(response["range"].removeprefix("0-"))
    return last + 1 if last else 0


def wait_until_idle(wire: Wire, location: str, least: int) -> None:
    """Until the session holds that much, and has not grown for as long as the server needs for what is on its way."""
    sizes = [-1]

    def idle() -> bool:
        sizes.append(held(wire, location))
        time.sleep(0.03)
        return sizes[-1] >= least and sizes[-4:] == [sizes[-1]] * 4

    until(idle)


def wait_until_taken_up(server: Server, location: str) -> None:
    """Until a worker has the session's file open: a PATCH that is read after the resume adds to what that stored."""
    uploads = server.storage / "docker/registry/v2/repositories/frozen/_uploads"
    data = str((uploads / location.rpartition("/")[2] / "data").resolve())

    def is_open() -> bool:
        descriptors = [each for worker in server.workers() for each in Path(f"/proc/{worker}/fd").iterdir()]
        with suppress(FileNotFoundError):
            return any(os.readlink(each) == data for each in descriptors)
        return False

    until(is_open)


HEADERS = ("Accept: */*", "Transfer-Encoding: chunked", f"Content-Range: 0-{SIZE - 1}")


@pytest.mark.parametrize("wakes", ["while the resume is half done", "before the last PUT", "after it"])
def test_frozen_in_mid_patch(wires: tuple[Server, list[Wire]], wakes: str) -> None:
    """A connection that froze in mid-PATCH keeps no one waiting: status and resume work on another at once.

    By the same worker and by another; whatever had been sent, and in whatever form. When it wakes up it is
    refused, or finds its connection closed, and the blob is what the one who resumed says it is.
    """
    server, (first, second) = wires
    for sent, header, resumer in itertools.product((0, 1_000, 2_000_000), HEADERS, (first, second)):
        content = os.urandom(SIZE)
        location = start_upload(resumer, "frozen")
        with Wire(server.url) as wire:
            frozen = Frozen(wire, location, content, sent, header)
            wait_until_taken_up(server, location)
            if sent > HELD_BACK:
                wait_until_idle(resumer, location, least=sent - HELD_BACK)
            answer = resume(resumer, location, content, frozen, wakes)
        assert answer is None or answer.status in ({404, 416} if wakes == "after it" else {416}), answer
        assert data_file(server, digest_of(content)).read_bytes() == content
        assert pull_blob(second, "frozen", digest_of(content)) == content


def resume(wire: Wire, location: str, content: bytes, frozen: Frozen, wakes: str) -> Response | None:
    """Go on from where the session stands, to the last PUT; what the frozen one is told when it wakes."""
    offset, answer = held(wire, location), None
    assert offset < SIZE
    steps = [offset, (offset + SIZE) // 2, SIZE]
    for start, stop in itertools.pairwise(steps):
        chunk = f"Content-Range: {start}-{stop - 1}"
        response = wire.ask("PATCH", location, chunk, body=content[start:stop])
        assert (response.status, response["range"]) == (202, f"0-{stop - 1}"), response
        if wakes == "while the resume is half done" and stop != SIZE:
            answer = frozen.wake()
            assert held(wire, location) == stop
    if wakes == "before the last PUT":
        answer = frozen.wake()
    assert wire.ask("PUT", f"{location}?digest={digest_of(content)}").status == 201
    return frozen.wake() if wakes == "after it" else answer
