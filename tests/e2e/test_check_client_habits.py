"""Small things that clients really do, which no specification asks of them."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from urllib.parse import quote, urljoin

import httpx2
import pytest

from tests.e2e.pushing import (
    EMPTY,
    digest_of,
    make_manifest,
    one_to_each,
    pull_blob,
    pull_digest,
    push_blob,
    put_manifest,
    start_upload,
)
from tests.http.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.conftest import Start
    from tests.e2e.server import Server

LAYERS = 10
WRITERS = 8


@pytest.fixture
def wire(registry: Server) -> Iterator[Wire]:
    with Wire(registry.url) as opened:
        yield opened


def test_empty_patch_first(wire: Wire) -> None:
    """A PATCH without a body, with which some clients begin, changes nothing: the real one follows."""
    content = os.urandom(100_000)
    location = start_upload(wire, "habits")
    for headers in ((), ("Content-Length: 0",), ("Transfer-Encoding: chunked",)):
        wire.request("PATCH", location, *headers)
        if headers == ("Transfer-Encoding: chunked",):
            wire.chunk(b"")
        response = wire.response(to="PATCH")
        assert (response.status, response["range"]) == (202, "0-0")
    response = wire.ask("PATCH", response["location"], body=content)
    assert (response.status, response["range"]) == (202, "0-99999")
    assert wire.ask("PUT", f"{response['location']}?digest={digest_of(content)}").status == 201
    assert pull_blob(wire, "habits", digest_of(content)) == content


def test_first_location_again(wire: Wire) -> None:
    """A client that goes on to use the Location of its POST, whatever it is told later, ends its upload."""
    content = os.urandom(30_000)
    location = start_upload(wire, "habits")
    for start in range(0, len(content), 10_000):
        assert wire.ask("PATCH", location, body=content[start : start + 10_000]).status == 202
    assert wire.ask("PUT", f"{location}?digest={digest_of(content)}", "Content-Length: 0").status == 201
    assert pull_blob(wire, "habits", digest_of(content)) == content


def test_whole_blob_with_put(wire: Wire) -> None:
    """A PUT right after the POST brings the whole blob, with a length or in chunks."""
    for size in (0, 1, 2_000_000):
        content = os.urandom(size)
        location = start_upload(wire, "habits")
        wire.request("PUT", f"{location}?digest={digest_of(content)}", "Transfer-Encoding: chunked")
        if content:
            wire.chunk(content)
        wire.chunk(b"")
        assert wire.response(to="PUT").status == 201
        assert push_blob(wire, "habits", content) == digest_of(content)
        assert pull_blob(wire, "habits", digest_of(content)) == content


def test_head_before_upload(wire: Wire) -> None:
    """A HEAD before the upload says that the blob is not there, and one after it how long it is."""
    content = os.urandom(12_345)
    path = f"/v2/habits/blobs/{digest_of(content)}"
    assert wire.ask("HEAD", path).status == 404
    push_blob(wire, "habits", content)
    response = wire.ask("HEAD", path)
    assert (response.status, response["content-length"]) == (200, "12345")


def test_ten_layers_in_parallel(registry: Server) -> None:
    """Ten layers that are pushed at the same time, each on its own connection, make an image at once."""
    layers = [os.urandom(1_000_000 + number) for number in range(LAYERS)]

    def push(layer: bytes) -> str:
        with Wire(registry.url) as wire:
            assert wire.ask("HEAD", f"/v2/layers/blobs/{digest_of(layer)}").status == 404
            return push_blob(wire, "layers", layer)

    with ThreadPoolExecutor(LAYERS) as pool:
        assert list(pool.map(push, layers)) == list(map(digest_of, layers))
    with Wire(registry.url) as wire:
        push_blob(wire, "layers", EMPTY)
        content = make_manifest("ten layers", layers)
        assert put_manifest(wire, "layers", "latest", content).status == 201
        assert pull_digest(wire, "layers", "latest") == digest_of(content)
        assert [pull_blob(wire, "layers", digest_of(layer)) for layer in layers] == layers


@pytest.mark.parametrize(
    "join",
    [
        lambda base, location, digest: base + location + f"?digest={digest}",
        lambda base, location, digest: urljoin(f"{base}/v2/", location) + f"?digest={digest}",
        lambda base, location, digest: base + location + f"?digest={quote(digest, safe='')}",
        lambda base, location, digest: base + location + f"?_state=abc%3D%3D&digest={quote(digest)}",
        lambda base, location, digest: base + location + f"?digest={digest}&account=someone&_state=",
    ],
)
def test_location_joined_by_hand(registry: Server, join: object) -> None:
    """The Location is a path, to which clients add the host before and the digest behind, each in its own way."""
    assert callable(join)
    content = os.urandom(5_000)
    location = httpx2.post(f"{registry.url}/v2/habits/blobs/uploads/").headers["location"]
    assert location.startswith("/v2/habits/blobs/uploads/")
    assert "?" not in location
    response = httpx2.put(join(registry.url, location, digest_of(content)), content=content)
    assert response.status_code == 201
    assert httpx2.get(registry.url + response.headers["location"]).content == content


def test_expect_continue(wire: Wire) -> None:
    """A PUT that waits for `100 Continue` gets it before its body is sent."""
    content = os.urandom(3_000_000)
    target = f"{start_upload(wire, 'habits')}?digest={digest_of(content)}"
    wire.request("PUT", target, "Expect: 100-continue", f"Content-Length: {len(content)}")
    assert wire.response(to="PUT").status == 100
    wire.send(content)
    assert wire.response(to="PUT").status == 201
    assert pull_blob(wire, "habits", digest_of(content)) == content


def test_expect_continue_refused(wire: Wire) -> None:
    """A PUT that waits for `100 Continue` and cannot succeed is refused before its body is sent."""
    target = f"{start_upload(wire, 'habits')}?digest=sha256:short"
    wire.request("PUT", target, "Expect: 100-continue", "Content-Length: 3000000")
    assert wire.response(to="PUT").status == 400


def test_session_in_every_process(start: Start) -> None:
    """The requests of one session may each be answered by another worker, and by another server on the same tree."""
    first = start({"workers": 2})
    second = start({"workers": 2}, storage=first.storage)
    with one_to_each(first) as some, one_to_each(second) as others:
        for turn, ender in enumerate(some + others):
            content = os.urandom(800_000)
            location = start_upload(some[turn % 2], "shared")
            offset = 0
            for wire in (*others, *some, *others[::-1]):
                chunk = content[offset : offset + 100_000]
                headers = [f"Content-Range: {offset}-{offset + len(chunk) - 1}"] if turn % 2 else []
                response = wire.ask("PATCH", location, *headers, body=chunk)
                offset += len(chunk)
                assert (response.status, response["range"]) == (202, f"0-{offset - 1}")
                assert ender.ask("GET", location)["range"] == f"0-{offset - 1}"
            response = ender.ask("PUT", f"{location}?digest={digest_of(content)}", body=content[offset:])
            assert response.status == 201
            for wire in some + others:
                assert pull_blob(wire, "shared", digest_of(content)) == content
                assert wire.ask("GET", location).status == 404


def test_two_writers_on_one_session(start: Start) -> None:
    """Of writers that bring the same chunk at once one is taken; the others get 416, and the offset stays."""
    server = start({"workers": 2})
    content = os.urandom(3_000_000)
    size = len(content) // 10
    with Wire(server.url) as wire, ThreadPoolExecutor(WRITERS) as pool:
        location = start_upload(wire, "contended")

        def write(offset: int) -> int:
            with Wire(server.url) as own:
                chunk = f"Content-Range: {offset}-{offset + size - 1}"
                response = own.ask("PATCH", location, chunk, body=content[offset : offset + size])
                if response.status == 416:
                    last = int(response["range"].removeprefix("0-"))
                    assert max(0, offset - 1) <= last < offset + size
                return response.status

        for offset in range(0, len(content), size):
            statuses = sorted(pool.map(write, [offset] * WRITERS))
            assert statuses == [202] + [416] * (WRITERS - 1)
            assert wire.ask("GET", location)["range"] == f"0-{offset + size - 1}"
        assert wire.ask("PUT", f"{location}?digest={digest_of(content)}").status == 201
        assert pull_blob(wire, "contended", digest_of(content)) == content
