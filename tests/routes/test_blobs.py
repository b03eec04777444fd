"""Blobs: pull, and on conditions; where they are visible; delete (spec.md, "Pulling blobs", "Deleting Blobs")."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.registry.documents import ABSENT, digest_of, image, sha256, sha512

if TYPE_CHECKING:
    from tests.routes.caller import Registry

CONTENT = bytes(range(100))
DIGEST = sha256(CONTENT)
PATH = f"/v2/app/blobs/{DIGEST}"
TAG = f'"{DIGEST}"'


@pytest.fixture
def pushed(registry: Registry) -> Registry:
    """A registry with CONTENT in `app`."""
    registry.push_blob("app", CONTENT)
    return registry


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_pull_gives_bytes_and_what_they_are(registry: Registry, algorithm: str) -> None:
    """GET is 200 with length, type, digest and entity tag, and takes ranges; HEAD says the same without the bytes."""
    digest = registry.push_blob("app", CONTENT, digest_of(CONTENT, algorithm))
    path = f"/v2/app/blobs/{digest}"
    got, headers = registry.ask("GET", path), registry.ask("HEAD", path)
    assert (got.status, got.body, headers.status, headers.body) == (200, CONTENT, 200, b"")
    assert got.lasting == headers.lasting
    assert got["content-length"] == "100"
    assert got["content-type"] == "application/octet-stream"
    assert got["docker-content-digest"] == digest
    assert got["etag"] == f'"{digest}"'
    assert got["accept-ranges"] == "bytes"


def test_an_empty_blob_is_a_blob(registry: Registry) -> None:
    """No bytes at all are content too; no range of them can be had."""
    digest = registry.push_blob("app", b"")
    assert registry.ask("GET", f"/v2/app/blobs/{digest}").body == b""
    assert registry.ask("HEAD", f"/v2/app/blobs/{digest}")["content-length"] == "0"
    for asked in ("bytes=0-", "bytes=0-0", "bytes=-1"):
        reply = registry.ask("GET", f"/v2/app/blobs/{digest}", {"range": asked})
        assert (reply.status, reply["content-range"]) == (416, "bytes */0")


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-9", 0, 10),
        ("bytes=0-0", 0, 1),
        ("bytes=99-99", 99, 100),
        ("bytes=10-", 10, 100),
        ("bytes=0-", 0, 100),
        ("bytes=-10", 90, 100),
        ("bytes=-1000", 0, 100),
        ("bytes=90-1000", 90, 100),
        ("bytes=50-" + "9" * 5000, 50, 100),
        ("BYTES=0-9", 0, 10),
    ],
)
def test_a_range_is_206(pushed: Registry, asked: str, start: int, stop: int) -> None:
    """first-last, first- and -suffix are 206 with Content-Range, cut at the end, and with the digest of the whole."""
    reply = pushed.ask("GET", PATH, {"range": asked})
    assert (reply.status, reply.body) == (206, CONTENT[start:stop])
    assert reply["content-range"] == f"bytes {start}-{stop - 1}/100"
    assert reply["content-length"] == str(stop - start)
    assert (reply["docker-content-digest"], reply["etag"]) == (DIGEST, TAG)


@pytest.mark.parametrize(
    "asked", ["bytes=100-", "bytes=100-200", "bytes=9-3", "bytes=-0", "bytes=" + "9" * 5000 + "-"]
)
def test_a_range_that_is_not_there_is_416(pushed: Registry, asked: str) -> None:
    """Bytes past the end, none at all, and a last before the first are 416, with the size in Content-Range."""
    reply = pushed.ask("GET", PATH, {"range": asked})
    assert reply.error == (416, "SIZE_INVALID")
    assert reply["content-range"] == "bytes */100"


@pytest.mark.parametrize(
    "asked", ["bytes=0-1,5-6", "items=0-1", "bytes=a-b", "bytes=-", "bytes 0-1", "", "0-9"]
)
def test_a_range_that_is_not_understood_is_ignored(pushed: Registry, asked: str) -> None:
    """Several ranges, other units and malformed ones get the whole (RFC 9110, 14.2)."""
    reply = pushed.ask("GET", PATH, {"range": asked})
    assert (reply.status, reply.body) == (200, CONTENT)


def test_a_head_has_no_range(pushed: Registry) -> None:
    """Range is for GET alone: a HEAD tells the length of the whole."""
    for asked in ("bytes=0-9", "bytes=500-"):
        reply = pushed.ask("HEAD", PATH, {"range": asked})
        assert (reply.status, reply["content-length"]) == (200, "100")


@pytest.mark.parametrize(
    ("if_range", "status"),
    [
        (TAG, 206),
        (f"W/{TAG}", 200),
        ('"sha256:other"', 200),
        ("Sat, 21 Nov 2026 00:00:00 GMT", 200),
        (DIGEST, 200),
    ],
)
def test_a_range_holds_only_if_the_tag_does(pushed: Registry, if_range: str, status: int) -> None:
    """If-Range with the entity tag, strong, lets the range be; anything else gets the whole (RFC 9110, 13.1.5)."""
    reply = pushed.ask("GET", PATH, {"range": "bytes=0-9", "if-range": if_range})
    assert (reply.status, reply.body) == (status, CONTENT[:10] if status == 206 else CONTENT)


def test_a_condition_that_is_not_ascii_does_not_hold(pushed: Registry) -> None:
    """If-Range with what no tag of ours can be gets the whole; such a Range is none."""
    for headers in ({"range": "bytes=0-9", "if-range": '"\xe9"'}, {"range": "bytes=0-9\xe9"}):
        reply = pushed.ask("GET", PATH, headers)
        assert (reply.status, reply.body) == (200, CONTENT)


def test_a_broken_condition_frees_a_bad_range(pushed: Registry) -> None:
    """A range that could not be had is no error where If-Range does not hold: the whole is sent."""
    assert pushed.ask("GET", PATH, {"range": "bytes=500-", "if-range": '"x"'}).body == CONTENT


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ([TAG], 304),
        ([f"W/{TAG}"], 304),
        (["*"], 304),
        ([f'"a", {TAG}, "b"'], 304),
        (['"a"', TAG], 304),
        (['"a"'], 200),
        ([DIGEST], 200),
        ([""], 200),
    ],
)
def test_what_the_client_has_is_not_sent(
    pushed: Registry, method: str, lines: list[str], status: int
) -> None:
    """If-None-Match with the entity tag, weak or strong, in a list or on a line of its own, is 304 without a body."""
    reply = pushed.ask(method, PATH, [("if-none-match", line) for line in lines])
    assert reply.status == status
    assert (reply["etag"], reply["docker-content-digest"]) == (TAG, DIGEST)
    if status == 304:
        assert (reply.body, "content-length" in reply, "content-type" in reply) == (b"", False, False)


def test_the_condition_comes_before_the_range(pushed: Registry) -> None:
    """What is not modified is 304, whatever part of it is asked (RFC 9110, 13.2.2)."""
    assert pushed.ask("GET", PATH, {"range": "bytes=500-", "if-none-match": TAG}).status == 304


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_what_is_not_there_is_unknown(pushed: Registry, method: str) -> None:
    """A blob that was not pushed is BLOB_UNKNOWN 404, in a repository that is there and in one that is not."""
    for repository in ("app", "nowhere"):
        reply = pushed.ask(method, f"/v2/{repository}/blobs/{ABSENT}")
        assert reply.error == (404, "BLOB_UNKNOWN")
        assert reply.errors[0]["detail"] == {"digest": ABSENT}


def test_a_blob_is_seen_where_it_was_pushed(pushed: Registry) -> None:
    """Content that is known to the registry is unknown in a repository that it was neither pushed nor mounted to."""
    assert pushed.ask("GET", f"/v2/other/blobs/{DIGEST}").error == (404, "BLOB_UNKNOWN")
    assert pushed.ask("GET", f"/v2/app/inner/blobs/{DIGEST}").error == (404, "BLOB_UNKNOWN")


def test_one_content_has_a_name_for_each_algorithm(pushed: Registry) -> None:
    """A blob is there by the digest that it was pushed by, not by another of the same bytes."""
    assert pushed.ask("GET", f"/v2/app/blobs/{sha512(CONTENT)}").error == (404, "BLOB_UNKNOWN")


def test_manifests_are_no_blobs(registry: Registry) -> None:
    """A manifest is not served as a blob, nor a blob as a manifest."""
    registry.push_layers("app")
    digest = registry.push("app", "v1", image())
    assert registry.ask("GET", f"/v2/app/blobs/{digest}").error == (404, "BLOB_UNKNOWN")
    blob = registry.push_blob("app", image(annotations={"pushed": "as a blob"}))
    assert registry.ask("GET", f"/v2/app/manifests/{blob}").error == (404, "MANIFEST_UNKNOWN")


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_delete_takes_from_one_repository(registry: Registry, algorithm: str) -> None:
    """DELETE is 202, and the blob is gone from this repository alone; a second one finds nothing."""
    digest = digest_of(CONTENT, algorithm)
    registry.push_blob("app", CONTENT, digest)
    registry.push_blob("other", CONTENT, digest)
    reply = registry.ask("DELETE", f"/v2/app/blobs/{digest}")
    assert (reply.status, reply.body, reply["content-length"]) == (202, b"", "0")
    for method in ("GET", "HEAD", "DELETE"):
        assert registry.ask(method, f"/v2/app/blobs/{digest}").error == (404, "BLOB_UNKNOWN")
    assert registry.ask("GET", f"/v2/other/blobs/{digest}").body == CONTENT


def test_a_deleted_blob_can_come_back(pushed: Registry) -> None:
    """What was deleted is pushed again like anything else."""
    pushed.ask("DELETE", PATH)
    pushed.push_blob("app", CONTENT)
    assert pushed.ask("GET", PATH).body == CONTENT


def test_a_blob_in_use_may_be_deleted(registry: Registry) -> None:
    """A manifest that names a blob does not hold it: the delete is 202, and the manifest stays."""
    registry.push_layers("app")
    registry.push("app", "v1", image())
    layer = sha256(b"the bytes of a layer")
    assert registry.ask("DELETE", f"/v2/app/blobs/{layer}").status == 202
    assert registry.ask("GET", "/v2/app/manifests/v1").status == 200
    assert registry.ask("GET", f"/v2/app/blobs/{layer}").status == 404
