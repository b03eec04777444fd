"""Blobs over HTTP, from files: what the server adds, leaves out or cuts (spec.md, "Pulling blobs"; RFC 9110, 14)."""

from __future__ import annotations

import hashlib
import random
from typing import TYPE_CHECKING

import pytest

from tests.http.wire import Wire
from tests.registry.documents import ABSENT, sha256, sha512

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.server import Server
    from tests.http.wire import Response

CONTENT = random.Random(7).randbytes(1_500_000)
SIZE = len(CONTENT)
DIGEST = sha256(CONTENT)
PATH = f"/v2/protocol/blobs/blobs/{DIGEST}"


@pytest.fixture
def wire(registry: Server) -> Iterator[Wire]:
    """A connection to a registry with CONTENT in `protocol/blobs`."""
    with Wire(registry.url) as connection:
        push(connection, "protocol/blobs", CONTENT)
        yield connection


def push(wire: Wire, repository: str, content: bytes, digest: str | None = None) -> Response:
    target = f"/v2/{repository}/blobs/uploads/?digest={digest or sha256(content)}"
    response = (
        wire.ask("POST", target, f"Content-Length: {len(content)}")
        if not content
        else wire.ask("POST", target, body=content)
    )
    assert response.status == 201, response
    return response


@pytest.mark.parametrize("content", [b"", b"x", CONTENT])
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_head_tells_what_a_get_sends(wire: Wire, content: bytes, algorithm: str) -> None:
    """HEAD has the length and headers of the GET, each once, and no body, so that the connection can go on."""
    digest = f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"
    push(wire, "protocol/heads", content, digest)
    path = f"/v2/protocol/heads/blobs/{digest}"
    for _ in range(2):
        head, got = wire.ask("HEAD", path), wire.ask("GET", path)
        for response in (head, got):
            response.headers = [each for each in response.headers if each[0] not in ("date", "x-request-id")]
        assert (head.status, got.status, got.body) == (200, 200, content)
        assert sorted(head.headers) == sorted(got.headers)
        names = [name for name, _ in got.headers]
        assert len(names) == len(set(names))
        assert got["content-length"] == str(len(content))
        assert got["content-type"] == "application/octet-stream"
        assert (got["docker-content-digest"], got["etag"], got["accept-ranges"]) == (
            digest,
            f'"{digest}"',
            "bytes",
        )
        assert got["docker-distribution-api-version"] == "registry/2.0"


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("0-0", 0, 1),
        ("0-9", 0, 10),
        (f"0-{SIZE - 1}", 0, SIZE),
        ("0-", 0, SIZE),
        ("1-", 1, SIZE),
        ("-1", SIZE - 1, SIZE),
        (f"-{SIZE * 2}", 0, SIZE),
        (f"{SIZE - 1}-", SIZE - 1, SIZE),
        (f"1000000-{SIZE * 2}", 1_000_000, SIZE),
        ("700000-1400000", 700_000, 1_400_001),
    ],
)
def test_a_range_of_a_file(wire: Wire, asked: str, start: int, stop: int) -> None:
    """206 with exactly these bytes of the file and their length."""
    for _ in range(2):
        response = wire.ask("GET", PATH, f"Range: bytes={asked}")
        assert (response.status, response.complete) == (206, True)
        assert response.body == CONTENT[start:stop]
        assert response["content-length"] == str(stop - start)
        assert response["content-range"] == f"bytes {start}-{stop - 1}/{SIZE}"


@pytest.mark.parametrize("asked", [f"{SIZE}-", "9-3", "-0"])
def test_a_range_that_is_not_there(wire: Wire, asked: str) -> None:
    """416 with the size, in the form of every error; the connection goes on."""
    response = wire.ask("GET", PATH, f"Range: bytes={asked}")
    assert (response.status, response["content-range"]) == (416, f"bytes */{SIZE}")
    assert response["content-type"] == "application/json"
    assert wire.ask("GET", PATH, "Range: bytes=0-1").body == CONTENT[:2]


def test_conditions(wire: Wire) -> None:
    """304 for what the client has, on one line or several, without a body; If-Range decides whether a range is sent."""
    for lines in ([f'If-None-Match: "{DIGEST}"'], ['If-None-Match: "a"', f'If-None-Match: W/"{DIGEST}"']):
        for method in ("GET", "HEAD"):
            response = wire.ask(method, PATH, *lines)
            assert (response.status, response["etag"]) == (304, f'"{DIGEST}"')
    assert wire.ask("GET", PATH, "Range: bytes=0-1", f'If-Range: "{DIGEST}"').status == 206
    assert wire.ask("GET", PATH, "Range: bytes=0-1", 'If-Range: "x"').body == CONTENT


def test_a_download_can_be_resumed(wire: Wire, registry: Server) -> None:
    """What a broken download has is completed by the range that is missing."""
    with Wire(registry.url) as broken:
        broken.request("GET", PATH)
        broken.head()
        broken.socket.recv(1000)
        broken.reset()
    have = CONTENT[:123_457]
    response = wire.ask("GET", PATH, f"Range: bytes={len(have)}-", f'If-Range: "{DIGEST}"')
    assert have + response.body == CONTENT


def test_errors_have_bodies_but_for_head(wire: Wire) -> None:
    """A GET that misses has the JSON; the HEAD has the same status and headers alone, and the connection goes on."""
    for path in (
        f"/v2/protocol/blobs/blobs/{ABSENT}",
        "/v2/protocol/blobs/blobs/sha256:x",
        "/v2/Bad/blobs/x",
        "/nowhere",
    ):
        got, head = wire.ask("GET", path), wire.ask("HEAD", path)
        assert got.status == head.status
        assert got.status in (400, 404)
        assert b'"errors"' in got.body
        assert head["content-type"] == got["content-type"] == "application/json"
        assert wire.ask("GET", "/v2/").body == b"{}"


def test_a_blob_by_the_other_algorithm_is_another(wire: Wire) -> None:
    """What was pushed by sha256 is unknown by sha512 until it is pushed by it; each is deleted alone."""
    other = f"/v2/protocol/blobs/blobs/{sha512(CONTENT)}"
    assert wire.ask("GET", other).status == 404
    push(wire, "protocol/blobs", CONTENT, sha512(CONTENT))
    assert wire.ask("GET", other).body == CONTENT
    assert wire.ask("DELETE", other).status == 202
    assert wire.ask("GET", other).status == 404
    assert wire.ask("GET", PATH).body == CONTENT


def test_a_mount_copies_nothing(wire: Wire, registry: Server) -> None:
    """A mount is 201 and adds a link alone; the delete in one repository leaves the blob of the other."""
    blobs = registry.storage / "docker/registry/v2/blobs"
    before = {path for path in blobs.rglob("*") if path.is_file()}
    for repository, source in (("protocol/target", "&from=protocol/blobs"), ("protocol/wherever", "")):
        response = wire.ask("POST", f"/v2/{repository}/blobs/uploads/?mount={DIGEST}{source}")
        assert (response.status, response["location"]) == (201, f"/v2/{repository}/blobs/{DIGEST}")
        assert response["docker-content-digest"] == DIGEST
        assert wire.ask("GET", response["location"]).body == CONTENT
        assert wire.ask("DELETE", response["location"]).status == 202
        assert wire.ask("GET", response["location"]).status == 404
    assert wire.ask("GET", PATH).body == CONTENT
    assert {path for path in blobs.rglob("*") if path.is_file()} >= before
