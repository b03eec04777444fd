"""HTTP/2 with prior knowledge, where the server is asked to speak it."""

from __future__ import annotations

import hashlib
import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from h2.errors import ErrorCodes

from tests.http.http2 import Http2Client, StreamWasReset
from tests.http.serving import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.http.serving import Serving

CONTENT = bytes(range(256)) * 1000


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    root = tmp_path_factory.mktemp("http2")
    (root / "content").write_bytes(CONTENT)
    with serving(root, http2=True) as started:
        yield started


@pytest.fixture
def server(running: Serving) -> Serving:
    running.forget_outcomes()
    return running


@pytest.fixture
def client(server: Serving) -> Iterator[Http2Client]:
    with Http2Client(server.address) as connected:
        yield connected


def body(client: Http2Client, stream: int) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(client.response(stream).body)
    return value


def test_http1_is_spoken_on_the_same_port(server: Serving) -> None:
    """A server that speaks HTTP/2 answers HTTP/1.1 as before."""
    with server.connect() as wire:
        assert wire.ask("GET", "/v2/").status == 200


def test_files_and_heads(client: Http2Client) -> None:
    """GET sends the file, HEAD its length alone."""
    response = client.response(client.request("GET", "/file?name=content&start=5"))
    assert (response.status, response.body) == (206, CONTENT[5:])
    head = client.response(client.request("HEAD", "/bytes?n=1234567"))
    assert (head["content-length"], head.body) == ("1234567", b"")


@pytest.mark.parametrize("announced", [True, False])
def test_bodies_with_empty_frames_are_whole(client: Http2Client, announced: bool) -> None:
    """Frames that are empty, one of them the last, are no end of a body and no error."""
    length = [("content-length", str(3 * 16_000))] if announced else []
    stream = client.request("PUT", "/hash", *length, end=False)
    for piece in (b"a" * 16_000, b"", b"", b"b" * 16_000, b"", b"c" * 16_000):
        client.data(stream, piece)
    client.data(stream, b"", end=True)
    assert (
        body(client, stream)["sha256"]
        == hashlib.sha256(b"a" * 16_000 + b"b" * 16_000 + b"c" * 16_000).hexdigest()
    )


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("code", [ErrorCodes.CANCEL, ErrorCodes.INTERNAL_ERROR, ErrorCodes.STREAM_CLOSED])
def test_a_stream_that_is_reset_is_cut_off(
    server: Serving, client: Http2Client, code: ErrorCodes, announced: bool
) -> None:
    """A body whose stream the client resets is cut off, with or without a Content-Length."""
    stream = client.request("PUT", "/hash", *([("content-length", "10")] if announced else []), end=False)
    client.data(stream, b"abc")
    server.until_outcome("reading")
    client.reset(stream, code)
    assert server.outcome_of_reading().startswith("SizeInvalid")


def test_a_connection_that_ends_cuts_its_bodies_off(server: Serving, client: Http2Client) -> None:
    """A client that vanishes leaves no body that seems whole."""
    stream = client.request("PUT", "/hash", end=False)
    client.data(stream, b"abc")
    server.until_outcome("reading")
    client.close()
    assert server.outcome_of_reading().startswith("SizeInvalid")


def test_no_error_resets_are_seen_by_the_length_alone(server: Serving, client: Http2Client) -> None:
    """A stream reset with NO_ERROR is told from a whole body where a Content-Length was announced."""
    stream = client.request("PUT", "/hash", ("content-length", "10"), end=False)
    client.data(stream, b"abc")
    server.until_outcome("reading")
    client.reset(stream, ErrorCodes.NO_ERROR)
    assert server.outcome_of_reading().startswith("SizeInvalid")


@pytest.mark.parametrize("sent", [b"abc", b"abcdefghijkl"])
def test_a_length_that_is_not_kept_resets_the_stream(
    server: Serving, client: Http2Client, sent: bytes
) -> None:
    """A body shorter or longer than its Content-Length is malformed (RFC 9113, 8.1.1): the server resets it."""
    stream = client.request("PUT", "/hash", ("content-length", "10"), end=False)
    client.data(stream, sent, end=True)
    with pytest.raises(StreamWasReset):
        client.response(stream)
    assert server.outcome_of_reading().startswith("SizeInvalid")


def test_early_answers_leave_the_connection(client: Http2Client) -> None:
    """An early answer reaches the client in mid-body, and other streams go on."""
    stream = client.request("PUT", "/early?status=413", ("content-length", "1000000"), end=False)
    client.data(stream, b"x" * 16_000)
    assert client.response(stream).status == 413
    assert client.response(client.request("GET", "/v2/")).status == 200


def test_streams_share_a_connection(client: Http2Client) -> None:
    """A slow answer holds up no other stream of its connection."""
    slow = client.request("GET", "/sleep?seconds=1.5")
    began = time.monotonic()
    for _ in range(20):
        assert client.response(client.request("GET", "/v2/")).status == 200
    assert not client.answered(slow), f"20 answers took {time.monotonic() - began} seconds"
    assert client.response(slow).status == 204
