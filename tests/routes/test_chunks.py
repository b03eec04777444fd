"""Uploads in chunks, their status and their going on (spec.md, "Pushing a blob in chunks")."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cargohold.types.errors import BodyTimeout, SizeInvalid
from tests.registry.documents import digest_of, sha256
from tests.routes.caller import Pieces, Registry

CONTENT = b"0123456789abcdefghij"
DIGEST = sha256(CONTENT)


def patch(registry: Registry, location: str, start: int, stop: int, form: str = "{}-{}") -> int:
    """PATCH a part of CONTENT, saying which; the status."""
    headers = {"content-range": form.format(start, stop - 1)}
    return registry.ask("PATCH", location, headers, CONTENT[start:stop]).status


def status(registry: Registry, location: str) -> str:
    reply = registry.ask("GET", location)
    assert (reply.status, reply.body, "content-length" in reply) == (204, b"", False)
    assert reply["location"] == location
    assert reply["docker-upload-uuid"] == location.rpartition("/")[2]
    return reply["range"]


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("form", ["{}-{}", "bytes {}-{}/*", "bytes {}-{}/20", "bytes={}-{}", None])
def test_chunks_make_a_blob(registry: Registry, algorithm: str, form: str | None) -> None:
    """Each PATCH in its turn is 202 with Location, UUID and the Range so far, with Content-Range or not."""
    location = registry.start("app")
    for start, stop in ((0, 7), (7, 8), (8, 20)):
        headers = {"content-range": form.format(start, stop - 1)} if form else {}
        reply = registry.ask("PATCH", location, headers, CONTENT[start:stop])
        assert (reply.status, reply.body, reply["content-length"]) == (202, b"", "0")
        assert reply["range"] == f"0-{stop - 1}"
        assert (reply["location"], reply["docker-upload-uuid"]) == (location, location.rpartition("/")[2])
        assert status(registry, location) == f"0-{stop - 1}"
    digest = digest_of(CONTENT, algorithm)
    assert registry.ask("PUT", f"{location}?digest={digest}").status == 201
    assert registry.ask("GET", f"/v2/app/blobs/{digest}").body == CONTENT


@pytest.mark.parametrize("form", ["{}-{}", None])
def test_the_last_chunk_may_ride_on_the_put(registry: Registry, form: str | None) -> None:
    """The PUT may bear the last bytes, with Content-Range or not."""
    location = registry.start("app")
    assert patch(registry, location, 0, 12) == 202
    headers = {"content-range": form.format(12, 19)} if form else {}
    assert registry.ask("PUT", f"{location}?digest={DIGEST}", headers, CONTENT[12:]).status == 201
    assert registry.ask("GET", f"/v2/app/blobs/{DIGEST}").body == CONTENT


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize(("start", "stop"), [(0, 5), (5, 12), (9, 12), (11, 20), (19, 20)])
def test_a_chunk_out_of_order_is_416(registry: Registry, method: str, start: int, stop: int) -> None:
    """A chunk before or past the end is BLOB_UPLOAD_INVALID 416 with the Range that is there; the session goes on."""
    location = registry.start("app")
    assert patch(registry, location, 0, 10) == 202
    headers = {"content-range": f"{start}-{stop - 1}"}
    reply = registry.ask(method, f"{location}?digest={DIGEST}", headers, CONTENT[start:stop])
    assert reply.error == (416, "BLOB_UPLOAD_INVALID")
    assert reply["range"] == "0-9"
    assert status(registry, location) == "0-9"
    assert patch(registry, location, 10, 20) == 202
    assert registry.ask("PUT", f"{location}?digest={DIGEST}").status == 201


def test_the_first_chunk_starts_at_nothing(registry: Registry) -> None:
    """In an empty session only a chunk from 0 is in order."""
    location = registry.start("app")
    assert patch(registry, location, 1, 5) == 416
    assert status(registry, location) == "0-0"
    assert patch(registry, location, 0, 5) == 202


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_a_range_backwards_is_416(registry: Registry, method: str) -> None:
    """A Content-Range whose last comes before its first is 416, and the session stays."""
    location = registry.start("app")
    reply = registry.ask(method, f"{location}?digest={DIGEST}", {"content-range": "5-3"}, b"")
    assert reply.error == (416, "BLOB_UPLOAD_INVALID")
    assert status(registry, location) == "0-0"


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize(
    "text", ["", "0", "0-", "-5", "a-b", "0-5-9", "bytes */20", "0x0-0x5", "+0-5", "0-5/", "0-" + "9" * 40]
)
def test_a_malformed_range_is_400(registry: Registry, method: str, text: str) -> None:
    """A Content-Range of another form is BLOB_UPLOAD_INVALID 400 and shows the form; nothing is written."""
    location = registry.start("app")
    reply = registry.ask(method, f"{location}?digest={DIGEST}", {"content-range": text}, CONTENT)
    assert reply.error == (400, "BLOB_UPLOAD_INVALID")
    assert "<first>-<last>" in reply.errors[0]["message"]
    assert status(registry, location) == "0-0"


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize("lines", [["0-19", "7-11"], ["0-19", "0-19"], ["\u0660-\u0664"], ["0\u201319"]])
def test_a_range_that_cannot_be_told_is_400(registry: Registry, method: str, lines: list[str]) -> None:
    """Two lines of Content-Range, and one that is not ASCII, are BLOB_UPLOAD_INVALID 400; nothing is written."""
    location = registry.start("app")
    headers = [("content-range", line) for line in lines]
    reply = registry.ask(method, f"{location}?digest={DIGEST}", headers, CONTENT)
    assert reply.error == (400, "BLOB_UPLOAD_INVALID")
    assert "Content-Range" in reply.errors[0]["message"]
    assert status(registry, location) == "0-0"


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize("claimed", ["0-18", "0-20", "0-0"])
def test_a_length_that_is_not_the_range_is_400(registry: Registry, method: str, claimed: str) -> None:
    """A Content-Length other than the Content-Range's is SIZE_INVALID 400, before a byte is written."""
    location = registry.start("app")
    reply = registry.ask(method, f"{location}?digest={DIGEST}", {"content-range": claimed}, CONTENT)
    assert reply.error == (400, "SIZE_INVALID")
    assert status(registry, location) == "0-0"


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_a_body_longer_than_its_range(registry: Registry, method: str) -> None:
    """A body of no announced length that runs past its Content-Range is SIZE_INVALID 400; no byte past it is kept."""
    location = registry.start("app")
    body = Pieces([CONTENT[:5], CONTENT[5:12], CONTENT[12:]])
    reply = registry.ask(method, f"{location}?digest={DIGEST}", {"content-range": "0-9"}, body)
    assert reply.error == (400, "SIZE_INVALID")
    assert status(registry, location) == "0-4"
    assert patch(registry, location, 5, 20) == 202
    assert registry.ask("PUT", f"{location}?digest={DIGEST}").status == 201


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_a_body_shorter_than_its_range(registry: Registry, method: str) -> None:
    """One that ends before its Content-Range does is SIZE_INVALID 400; what came is kept, and the upload goes on."""
    location = registry.start("app")
    reply = registry.ask(
        method, f"{location}?digest={DIGEST}", {"content-range": "0-9"}, Pieces([CONTENT[:6]])
    )
    assert reply.error == (400, "SIZE_INVALID")
    assert status(registry, location) == "0-5"
    assert patch(registry, location, 6, 20) == 202
    assert registry.ask("PUT", f"{location}?digest={DIGEST}").status == 201


@pytest.mark.parametrize(
    ("error", "expected"), [(SizeInvalid(), (400, "SIZE_INVALID")), (BodyTimeout(), (408, "UNSUPPORTED"))]
)
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_a_body_that_breaks_off_is_kept_so_far(
    registry: Registry, method: str, error: SizeInvalid | BodyTimeout, expected: tuple[int, str]
) -> None:
    """What came of a body that was cut off or stalled counts: the status tells where to go on, and no blob is made."""
    location = registry.start("app")
    body = Pieces([CONTENT[:4], CONTENT[4:9]], error)
    assert registry.ask(method, f"{location}?digest={DIGEST}", body=body).error == expected
    assert status(registry, location) == "0-8"
    assert registry.ask("GET", f"/v2/app/blobs/{DIGEST}").status == 404
    assert (
        registry.ask("PUT", f"{location}?digest={DIGEST}", {"content-range": "9-19"}, CONTENT[9:]).status
        == 201
    )


def test_a_body_without_a_length(registry: Registry) -> None:
    """A PATCH of no announced length is taken, with Content-Range or not."""
    location = registry.start("app")
    assert registry.ask("PATCH", location, body=Pieces([CONTENT[:3], CONTENT[3:6]]))["range"] == "0-5"
    headers = {"content-range": "6-19"}
    assert registry.ask("PATCH", location, headers, Pieces([CONTENT[6:]]))["range"] == "0-19"
    assert registry.ask("PUT", f"{location}?digest={DIGEST}", body=Pieces([])).status == 201


def test_an_empty_chunk_changes_nothing(registry: Registry) -> None:
    """A PATCH without bytes is 202 wherever it comes; the Range stays, 0-0 while nothing is there."""
    location = registry.start("app")
    assert registry.ask("PATCH", location)["range"] == "0-0"
    patch(registry, location, 0, 10)
    assert registry.ask("PATCH", location)["range"] == "0-9"
    assert registry.ask("PATCH", location, body=Pieces([]))["range"] == "0-9"
    patch(registry, location, 10, 20)
    assert registry.ask("PUT", f"{location}?digest={DIGEST}").status == 201


def test_one_byte_looks_like_none(registry: Registry) -> None:
    """A session of one byte says 0-0 as an empty one does; Content-Range 1-... is right all the same."""
    location = registry.start("app")
    assert patch(registry, location, 0, 1) == 202
    assert status(registry, location) == "0-0"
    assert patch(registry, location, 0, 1) == 416
    assert patch(registry, location, 1, 20) == 202
    assert registry.ask("PUT", f"{location}?digest={DIGEST}").status == 201


def test_an_unfinished_upload_is_no_blob(registry: Registry) -> None:
    """Until the PUT has closed the session, its bytes are not to be had, though all of them are there."""
    location = registry.start("app")
    patch(registry, location, 0, 20)
    assert registry.ask("HEAD", f"/v2/app/blobs/{DIGEST}").status == 404
    assert registry.ask("HEAD", location).status == 204


@given(st.lists(st.tuples(st.integers(0, 24), st.integers(1, 8)), max_size=12))
def test_only_the_next_byte_is_in_order(chunks: list[tuple[int, int]]) -> None:
    """Of any chunks, exactly those that start at the end are taken, and the Range is always what was taken."""
    registry = Registry()
    location = registry.start("app")
    held = b""
    for start, length in chunks:
        body = bytes([start]) * length
        reply = registry.ask("PATCH", location, {"content-range": f"{start}-{start + length - 1}"}, body)
        assert reply.status == (202 if start == len(held) else 416)
        if reply.status == 202:
            held += body
        assert reply["range"] == status(registry, location) == f"0-{max(len(held) - 1, 0)}"
    assert registry.ask("PUT", f"{location}?digest={sha256(held)}").status == 201
    assert registry.ask("GET", f"/v2/app/blobs/{sha256(held)}").body == held
