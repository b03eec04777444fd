"""Uploads over HTTP: lengths, chunked encoding, chunks, status, cancelling (spec.md, "Push")."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING

import pytest

from tests.http.serving import until
from tests.http.wire import Wire
from tests.registry.documents import ABSENT, sha256, sha512

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.conftest import Start
    from tests.e2e.server import Server
    from tests.http.wire import Response

CONTENT = random.Random(11).randbytes(1_700_000)
DIGEST = sha256(CONTENT)
# The first part is more than a store holds back while it waits for more.
FIRST, SECOND = CONTENT[:1_200_000], CONTENT[1_200_000:]
CHUNKED = "Transfer-Encoding: chunked"


@pytest.fixture
def wire(registry: Server) -> Iterator[Wire]:
    with Wire(registry.url) as connection:
        yield connection


def begin(wire: Wire, repository: str = "protocol/uploads", query: str = "") -> str:
    """Start a session as clients do, and give its address."""
    response = wire.ask("POST", f"/v2/{repository}/blobs/uploads/{query}", "Content-Length: 0")
    assert (response.status, response["range"], response["content-length"]) == (202, "0-0", "0")
    found = re.fullmatch(rf"/v2/{repository}/blobs/uploads/([0-9a-f-]{{36}})", response["location"])
    assert found
    assert response["docker-upload-uuid"] == found[1]
    return response["location"]


def send_chunked(wire: Wire, method: str, target: str, *headers: str, pieces: tuple[bytes, ...]) -> Response:
    wire.request(method, target, CHUNKED, *headers)
    for piece in (*pieces, b""):
        wire.chunk(piece)
    return wire.response()


def held_by(wire: Wire, location: str) -> int:
    """How many bytes the session tells that it holds."""
    last = int(wire.ask("GET", location)["range"].removeprefix("0-"))
    return last + 1 if last else 0


def assert_stored(wire: Wire, response: Response, digest: str = DIGEST, content: bytes = CONTENT) -> None:
    assert (response.status, response["docker-content-digest"]) == (201, digest)
    assert response["location"] == f"/v2/protocol/uploads/blobs/{digest}"
    assert wire.ask("GET", response["location"]).body == content


def assert_refused(response: Response, status: int, code: str) -> None:
    assert (response.status, response["content-type"]) == (status, "application/json")
    assert f'"code":"{code}"'.encode() in response.body


@pytest.mark.parametrize("digest", [DIGEST, sha512(CONTENT)])
@pytest.mark.parametrize("query", ["", "?digest-algorithm=sha512"])
def test_a_put_of_the_whole(wire: Wire, digest: str, query: str) -> None:
    """POST and PUT make a blob, with Content-Length and with chunked encoding, by either algorithm."""
    assert_stored(wire, wire.ask("PUT", f"{begin(wire, query=query)}?digest={digest}", body=CONTENT), digest)
    target = f"{begin(wire, query=query)}?digest={digest}"
    assert_stored(wire, send_chunked(wire, "PUT", target, pieces=(FIRST, SECOND)), digest)


@pytest.mark.parametrize("digest", [DIGEST, sha512(CONTENT)])
def test_a_single_post(wire: Wire, digest: str) -> None:
    """POST with a digest makes a blob, with Content-Length and with chunked encoding."""
    target = f"/v2/protocol/uploads/blobs/uploads/?digest={digest}"
    assert_stored(wire, wire.ask("POST", target, body=CONTENT), digest)
    assert_stored(wire, send_chunked(wire, "POST", target, pieces=(FIRST, SECOND)), digest)


@pytest.mark.parametrize("target", ["{}?digest=", "/v2/protocol/uploads/blobs/uploads/?digest="])
@pytest.mark.parametrize("chunked", [False, True])
def test_an_empty_blob(wire: Wire, target: str, chunked: bool) -> None:
    """No bytes are a blob too, however they are not sent."""
    location = begin(wire) if target.startswith("{}") else ""
    method = "PUT" if location else "POST"
    full = target.format(location) + sha256(b"")
    response = (
        send_chunked(wire, method, full, pieces=())
        if chunked
        else wire.ask(method, full, "Content-Length: 0")
    )
    assert_stored(wire, response, sha256(b""), b"")


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("ranged", [False, True])
@pytest.mark.parametrize("last", ["PATCH", "PUT"])
def test_chunks(wire: Wire, chunked: bool, ranged: bool, last: str) -> None:
    """PATCH by PATCH, with Content-Range or not, with Content-Length or chunked, the last on the PUT or not."""
    location = begin(wire)
    for position, (offset, part) in enumerate(((0, FIRST), (len(FIRST), SECOND))):
        method = last if position else "PATCH"
        target = f"{location}?digest={DIGEST}" if method == "PUT" else location
        headers = [f"Content-Range: {offset}-{offset + len(part) - 1}"] if ranged else []
        if chunked:
            response = send_chunked(wire, method, target, *headers, pieces=(part[:1000], part[1000:]))
        else:
            response = wire.ask(method, target, *headers, body=part)
        if method == "PATCH":
            assert (response.status, response["range"]) == (202, f"0-{offset + len(part) - 1}")
            assert (response["location"], response["content-length"]) == (location, "0")
    if last == "PATCH":
        response = wire.ask("PUT", f"{location}?digest={DIGEST}", "Content-Length: 0")
    assert_stored(wire, response)


def test_a_chunk_out_of_order(wire: Wire) -> None:
    """416, whose large body is not in the way of the answer; status and the right chunk go on after it."""
    location = begin(wire)
    wire.ask("PATCH", location, body=FIRST)
    for method in ("PATCH", "PUT"):
        for offset in (0, len(FIRST) - 1, len(FIRST) + 1):
            headers = f"Content-Range: {offset}-{offset + len(SECOND) - 1}"
            response = wire.ask(method, f"{location}?digest={DIGEST}", headers, body=SECOND)
            assert_refused(response, 416, "BLOB_UPLOAD_INVALID")
            assert response["range"] == f"0-{len(FIRST) - 1}"
    status = wire.ask("GET", location)
    assert (status.status, status["range"], status["location"]) == (204, f"0-{len(FIRST) - 1}", location)
    assert "content-length" not in status
    response = wire.ask("PATCH", location, f"Content-Range: {len(FIRST)}-{len(CONTENT) - 1}", body=SECOND)
    assert response.status == 202
    assert_stored(wire, wire.ask("PUT", f"{location}?digest={DIGEST}", "Content-Length: 0"))


@pytest.mark.parametrize(
    ("claimed", "length", "expected"),
    [
        ("0-9", 11, (400, "SIZE_INVALID")),
        ("0-9", 9, (400, "SIZE_INVALID")),
        ("0-9", 0, (400, "SIZE_INVALID")),
        ("9-0", 10, (416, "BLOB_UPLOAD_INVALID")),
        ("ten", 10, (400, "BLOB_UPLOAD_INVALID")),
    ],
)
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_a_chunk_that_contradicts_itself(
    wire: Wire, method: str, claimed: str, length: int, expected: tuple[int, str]
) -> None:
    """A Content-Range that is not the Content-Length's, or malformed, is refused, and the session stays empty."""
    location = begin(wire)
    headers = ["Content-Length: 0"] if not length else []
    target = f"{location}?digest={DIGEST}"
    response = wire.ask(method, target, f"Content-Range: {claimed}", *headers, body=CONTENT[:length])
    assert_refused(response, *expected)
    assert wire.ask("GET", location)["range"] == "0-0"


@pytest.mark.parametrize(("sent", "kept"), [(b"0123456789ab", "0-0"), (b"01234567", "0-7")])
def test_a_chunked_body_that_is_not_its_range(wire: Wire, sent: bytes, kept: str) -> None:
    """A body of no announced length that is longer or shorter than its Content-Range is SIZE_INVALID 400."""
    location = begin(wire)
    response = send_chunked(wire, "PATCH", location, "Content-Range: 0-9", pieces=(sent,))
    assert_refused(response, 400, "SIZE_INVALID")
    assert wire.ask("GET", location)["range"] == kept


@pytest.mark.parametrize("chunked", [False, True])
def test_a_client_that_goes_away(wire: Wire, registry: Server, chunked: bool) -> None:
    """What came of a body that was cut off is kept, never taken for the whole: the upload goes on where it ended."""
    location = begin(wire)
    with Wire(registry.url) as broken:
        if chunked:
            broken.request("PATCH", location, CHUNKED)
            broken.chunk(FIRST)
        else:
            broken.request("PATCH", location, f"Content-Length: {len(CONTENT)}")
            broken.send(FIRST)
        until(lambda: held_by(wire, location))
        broken.reset()
    assert wire.ask("HEAD", f"/v2/protocol/uploads/blobs/{sha256(FIRST)}").status == 404

    def resume() -> bool:
        held = held_by(wire, location)
        assert held <= len(FIRST)
        rest = wire.ask("PATCH", location, f"Content-Range: {held}-{len(CONTENT) - 1}", body=CONTENT[held:])
        return rest.status == 202

    until(resume)
    assert_stored(wire, wire.ask("PUT", f"{location}?digest={DIGEST}", "Content-Length: 0"))


def test_other_bytes_than_the_digest(wire: Wire, registry: Server) -> None:
    """DIGEST_INVALID 400, and nothing is left of the upload: no session, no blob, no file."""
    location = begin(wire, "protocol/wrong")
    assert_refused(wire.ask("PUT", f"{location}?digest={ABSENT}", body=CONTENT), 400, "DIGEST_INVALID")
    target = f"/v2/protocol/wrong/blobs/uploads/?digest={ABSENT}"
    assert_refused(wire.ask("POST", target, body=CONTENT), 400, "DIGEST_INVALID")
    assert wire.ask("GET", location).status == 404
    repository = registry.storage / "docker/registry/v2/repositories/protocol/wrong"
    assert [path for path in repository.rglob("*") if path.is_file()] == []


def test_a_session_that_is_cancelled(wire: Wire, registry: Server) -> None:
    """DELETE is 204; then every method is 404, and the bytes are gone from the disk."""
    location = begin(wire, "protocol/cancelled")
    wire.ask("PATCH", location, body=FIRST)
    response = wire.ask("DELETE", location)
    assert (response.status, "content-length" in response) == (204, False)
    for method in ("GET", "PATCH", "PUT", "DELETE"):
        assert_refused(wire.ask(method, f"{location}?digest={DIGEST}"), 404, "BLOB_UPLOAD_UNKNOWN")
    repository = registry.storage / "docker/registry/v2/repositories/protocol/cancelled"
    assert [path for path in repository.rglob("*") if path.is_file()] == []


def test_a_large_body_to_nowhere(wire: Wire) -> None:
    """An early error reaches a client that is still sending: a bad name, an unknown session, a bad digest."""
    body = CONTENT * 10
    for method, target, status in (
        ("POST", f"/v2/Bad/blobs/uploads/?digest={DIGEST}", 400),
        ("PATCH", "/v2/protocol/uploads/blobs/uploads/0a1b2c3d-0000-4000-8000-0123456789ab", 404),
        ("PUT", f"{begin(wire)}?digest=sha256:x", 400),
        ("PUT", "/nowhere", 404),
        ("POST", "/v2/", 405),
    ):
        response = wire.ask(method, target, body=body)
        assert response.status == status
        assert b'"errors"' in response.body


def test_sessions_expire(start: Start) -> None:
    """A session that has not grown for `uploads.timeout` is gone; one that grows stays."""
    server = start({"uploads.timeout": "2s", "workers": 1})
    with Wire(server.url) as wire:
        idle, busy = (begin(wire, "expiring") for _ in range(2))
        sizes = []

        def expired() -> bool:
            sizes.append(wire.ask("PATCH", busy, body=b"x")["range"])
            return wire.ask("GET", idle).status == 404

        until(expired)
        assert wire.ask("GET", busy)["range"] == sizes[-1] == f"0-{len(sizes) - 1}"
