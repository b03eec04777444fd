"""How bodies arrive, slow, chunked, cut or too long: only one that is whole ends as if it were."""

from __future__ import annotations

import hashlib
import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.http.server_cases.echo import STALL_TIMEOUT
from tests.http.serving import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.http.serving import Serving
    from tests.http.wire import Wire

LARGE = bytes(range(256)) * 40_000


@pytest.fixture(scope="module", params=[False, True], ids=["HTTP/1.1 alone", "with HTTP/2"])
def running(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("bodies"), http2=request.param) as started:
        yield started


@pytest.fixture
def server(running: Serving) -> Serving:
    running.forget_outcomes()
    return running


def result(wire: Wire, status: int) -> dict[str, Any]:
    response = wire.response()
    assert response.status == status
    value: dict[str, Any] = json.loads(response.body)
    return value


def test_a_body_arrives_whole_in_bounded_pieces(server: Serving) -> None:
    """A body with a Content-Length arrives byte for byte, in pieces of at most the read buffer (1 MiB)."""
    with server.connect() as wire:
        wire.request("PUT", "/hash", body=LARGE)
        got = result(wire, 201)
        assert got["sha256"] == hashlib.sha256(LARGE).hexdigest()
        assert got["largest"] <= 1024 * 1024
        assert wire.ask("GET", "/v2/").status == 200


def test_a_chunked_body_arrives_whole(server: Serving) -> None:
    """Chunks arrive as one body, and its end leaves the connection in step."""
    with server.connect() as wire:
        wire.request("PATCH", "/hash", "Transfer-Encoding: chunked")
        for start in range(0, len(LARGE), 1_000_003):
            wire.chunk(LARGE[start : start + 1_000_003])
        wire.chunk(b"")
        assert result(wire, 201)["sha256"] == hashlib.sha256(LARGE).hexdigest()
        assert wire.ask("GET", "/v2/").status == 200


@pytest.mark.parametrize("coding", ["Transfer-Encoding: chunked", "Content-Length: 0"])
def test_an_empty_body_is_whole(server: Serving, coding: str) -> None:
    """A body of no bytes is complete, with either way to say so (clients send an empty PATCH first)."""
    with server.connect() as wire:
        wire.request("PATCH", "/hash", coding)
        if "chunked" in coding:
            wire.chunk(b"")
        assert result(wire, 201)["received"] == 0


def test_a_length_beside_chunks_counts_for_nothing(server: Serving) -> None:
    """With both, the request is refused or the length void (RFC 9112, 6.3), and the connection is not used again."""
    with server.connect() as wire:
        wire.request("PUT", "/hash", "Transfer-Encoding: chunked", "Content-Length: 2")
        wire.chunk(b"abcdef")
        wire.chunk(b"")
        response = wire.response()
        assert response.status == 400 or json.loads(response.body)["received"] == 6
        assert wire.closed()


CUT = {
    "length": ("Content-Length: 10", b"abc"),
    "length, nothing sent": ("Content-Length: 10", b""),
    "between chunks": ("Transfer-Encoding: chunked", b"3\r\nabc\r\n"),
    "before the first chunk": ("Transfer-Encoding: chunked", b""),
    "within a chunk": ("Transfer-Encoding: chunked", b"3\r\nabc\r\n100\r\nabc"),
    "within a chunk's size": ("Transfer-Encoding: chunked", b"3\r\nabc\r\n1"),
    "within the last chunk": ("Transfer-Encoding: chunked", b"3\r\nabc\r\n0\r\n"),
    "no chunk": ("Transfer-Encoding: chunked", b"3\r\nabc\r\nxyz\r\n"),
}


@pytest.mark.parametrize(("coding", "sent"), CUT.values(), ids=CUT)
def test_a_body_that_ends_early_is_an_error(server: Serving, coding: str, sent: bytes) -> None:
    """A body that the client ends before it is whole is SIZE_INVALID, and the client that still listens is told."""
    with server.connect() as wire:
        wire.request("PUT", "/hash", coding)
        wire.send(sent)
        wire.finish()
        assert result(wire, 400)["error"] == "SizeInvalid"
    assert server.outcome_of_reading().startswith("SizeInvalid")


@pytest.mark.parametrize(("coding", "sent"), [CUT["length"], CUT["between chunks"], CUT["within a chunk"]])
def test_a_client_that_vanishes_ends_its_body(server: Serving, coding: str, sent: bytes) -> None:
    """A connection that is reset in mid-upload ends the body as cut off, never as whole, and at once."""
    wire = server.connect()
    wire.request("PUT", "/hash", coding)
    wire.send(sent)
    server.until_outcome("reading")
    wire.reset()
    assert server.outcome_of_reading().startswith("SizeInvalid")


def test_what_follows_a_body_is_another_request(server: Serving) -> None:
    """Bytes past the announced length are not the body's: they are read as the next request."""
    with server.connect() as wire:
        wire.request("PUT", "/hash", "Content-Length: 3")
        wire.send(b"abc\x00\x01 is no request\r\n\r\n")
        assert result(wire, 201)["received"] == 3
        assert wire.response().status == 400
        assert wire.closed()


def test_trailers_are_no_content(server: Serving) -> None:
    """A chunked body with trailers is stored without them or refused: granian does not tell trailers from a cut."""
    with server.connect() as wire:
        wire.request("PUT", "/hash", "Transfer-Encoding: chunked")
        wire.send(b"3\r\nabc\r\n0\r\nX-Trailer: 1\r\n\r\n")
        answer = json.loads(wire.response().body)
        assert answer.get("error") == "SizeInvalid" or answer["received"] == 3
        assert wire.ask("GET", "/v2/").status == 200


@pytest.mark.parametrize(
    ("coding", "sent"), [CUT["length"], CUT["between chunks"], CUT["length, nothing sent"]]
)
def test_a_body_that_stalls_is_given_up(server: Serving, coding: str, sent: bytes) -> None:
    """A client that sends nothing for the stall timeout gets 408, and the connection ends."""
    with server.connect() as wire:
        wire.request("PUT", "/hash", coding)
        wire.send(sent)
        assert result(wire, 408)["error"] == "BodyTimeout"
        assert wire.closed()


def test_a_slow_body_is_not_a_stalled_one(server: Serving) -> None:
    """A body may take far longer than the stall timeout while something of it comes in time."""
    with server.connect() as wire:
        wire.request("PUT", "/hash", "Content-Length: 8")
        for _ in range(8):
            time.sleep(STALL_TIMEOUT / 4)
            wire.send(b"x")
        assert result(wire, 201)["received"] == 8


def test_a_slow_reader_stalls_nobody(server: Serving) -> None:
    """The time that the application spends on a piece does not count against the client."""
    with server.connect() as wire:
        wire.request("PUT", f"/hash?pause={STALL_TIMEOUT * 1.25}", body=b"x" * 200_000)
        assert result(wire, 201)["received"] == 200_000


def test_expecting_clients_are_asked_to_continue(server: Serving) -> None:
    """`Expect: 100-continue` is answered when the application reads, and the body follows."""
    with server.connect() as wire:
        wire.request("PUT", "/hash", "Content-Length: 10", "Expect: 100-continue")
        assert wire.response().status == 100
        wire.send(b"0123456789")
        assert result(wire, 201)["received"] == 10
        assert wire.ask("GET", "/v2/").status == 200
