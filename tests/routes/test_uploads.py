"""Uploads in one go, and mounts (spec.md, "Pushing a blob monolithically", "Mounting a blob")."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from cargohold.storage.memory import MemoryStore
from cargohold.types.errors import SizeInvalid
from tests.registry.documents import ABSENT, digest_of, sha256, sha512
from tests.routes.caller import Pieces, Registry, Reply

if TYPE_CHECKING:
    from cargohold.types.digest import Algorithm
    from cargohold.types.names import RepositoryName, UploadId

CONTENT = b"the content of a blob"
DIGEST = sha256(CONTENT)
UNKNOWN = "/v2/app/blobs/uploads/0a1b2c3d-0000-4000-8000-0123456789ab"
UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
ALGORITHMS = ["sha256", "sha512"]


def assert_started(reply: Reply, repository: str) -> None:
    assert (reply.status, reply.body) == (202, b"")
    assert re.fullmatch(f"/v2/{repository}/blobs/uploads/{UUID}", reply["location"])
    assert reply["docker-upload-uuid"] == reply["location"].rpartition("/")[2]
    assert (reply["range"], reply["content-length"]) == ("0-0", "0")


def assert_stored(reply: Reply, repository: str, digest: str) -> None:
    assert (reply.status, reply.body, reply["content-length"]) == (201, b"", "0")
    assert reply["location"] == f"/v2/{repository}/blobs/{digest}"
    assert reply["docker-content-digest"] == digest


@pytest.mark.parametrize(
    "target", ["/v2/app/blobs/uploads/", "/v2/app/blobs/uploads", "/v2/a/b/c/blobs/uploads/"]
)
def test_a_session_starts(registry: Registry, target: str) -> None:
    """POST is 202 with a Location that is a path, the session's UUID, and the Range 0-0 of what holds nothing."""
    repository = target[4:].partition("/blobs/")[0]
    assert_started(registry.ask("POST", target), repository)
    assert registry.start(repository) != registry.start(repository)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("query", ["", "?digest-algorithm=sha256", "?digest-algorithm=sha512"])
def test_a_post_and_a_put_make_a_blob(registry: Registry, algorithm: str, query: str) -> None:
    """The PUT with the whole body is 201, by either algorithm, whatever the session was told to expect."""
    digest = digest_of(CONTENT, algorithm)
    location = registry.start("app", query)
    assert_stored(registry.ask("PUT", f"{location}?digest={digest}", body=CONTENT), "app", digest)
    assert registry.ask("GET", f"/v2/app/blobs/{digest}").body == CONTENT
    assert registry.ask("GET", location).error == (404, "BLOB_UPLOAD_UNKNOWN")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("content", [CONTENT, b"", b"\x00" * 300_000])
def test_one_post_makes_a_blob(registry: Registry, algorithm: str, content: bytes) -> None:
    """POST with a digest and the body is 201 at once, with the length announced or not."""
    digest = digest_of(content, algorithm)
    target = f"/v2/app/blobs/uploads/?digest={digest}"
    assert_stored(registry.ask("POST", target, body=content), "app", digest)
    assert_stored(registry.ask("POST", target, body=Pieces([content] if content else [])), "app", digest)
    assert registry.ask("GET", f"/v2/app/blobs/{digest}").body == content


def test_a_digest_may_be_encoded(registry: Registry) -> None:
    """The colon of a digest in the query may be written %3A, as clients in many languages do."""
    location = registry.start("app")
    reply = registry.ask("PUT", f"{location}?digest={DIGEST.replace(':', '%3A')}", body=CONTENT)
    assert_stored(reply, "app", DIGEST)


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_other_bytes_are_refused(method: str) -> None:
    """Bytes that are not those of the digest are DIGEST_INVALID 400; nothing is stored and the session is over."""
    store = MemoryStore()
    registry = Registry(store=store)
    location = registry.start("app") if method == "PUT" else "/v2/app/blobs/uploads/"
    reply = registry.ask(method, f"{location}?digest={ABSENT}", body=CONTENT)
    assert reply.error == (400, "DIGEST_INVALID")
    assert reply.errors[0]["message"] == "provided digest did not match uploaded content"
    assert reply.errors[0]["detail"]["digest"] == ABSENT
    for digest in (ABSENT, DIGEST):
        assert registry.ask("GET", f"/v2/app/blobs/{digest}").error == (404, "BLOB_UNKNOWN")
    assert not store._sessions


def test_a_put_names_its_digest(registry: Registry) -> None:
    """Without a digest the PUT is DIGEST_INVALID 400, says where it belongs, and leaves the session as it was."""
    location = registry.start("app")
    reply = registry.ask("PUT", location, body=CONTENT)
    assert reply.error == (400, "DIGEST_INVALID")
    assert "?digest=" in reply.errors[0]["message"]
    assert registry.ask("GET", location)["range"] == "0-0"
    assert registry.ask("PUT", f"{location}?digest={DIGEST}", body=CONTENT).status == 201


@pytest.mark.parametrize("name", ["md5", "sha384", "SHA256", "", "sha256:"])
def test_an_unknown_algorithm_is_refused(registry: Registry, name: str) -> None:
    """A session for an algorithm that is not registered is DIGEST_INVALID 400, and names those that are."""
    reply = registry.ask("POST", f"/v2/app/blobs/uploads/?digest-algorithm={name}")
    assert reply.error == (400, "DIGEST_INVALID")
    assert "sha256 or sha512" in reply.errors[0]["message"]


def test_two_algorithms_contradict(registry: Registry) -> None:
    """A digest and a digest-algorithm of another kind are BLOB_UPLOAD_INVALID 400; where they agree all is well."""
    target = f"/v2/app/blobs/uploads/?digest={DIGEST}&digest-algorithm="
    assert registry.ask("POST", f"{target}sha512", body=CONTENT).error == (400, "BLOB_UPLOAD_INVALID")
    assert_stored(registry.ask("POST", f"{target}sha256", body=CONTENT), "app", DIGEST)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PATCH", "PUT", "DELETE"])
@pytest.mark.parametrize(
    "session",
    [
        UNKNOWN,
        UNKNOWN.upper().replace("/V2/APP/BLOBS/UPLOADS", "/v2/app/blobs/uploads"),
        "/v2/app/blobs/uploads/x",
    ],
)
def test_an_unknown_session(registry: Registry, method: str, session: str) -> None:
    """A session that was never started, in this form or at all, is BLOB_UPLOAD_UNKNOWN 404."""
    assert registry.ask(method, f"{session}?digest={DIGEST}", body=CONTENT).error == (
        404,
        "BLOB_UPLOAD_UNKNOWN",
    )


@pytest.mark.parametrize("method", ["GET", "PATCH", "PUT", "DELETE"])
def test_a_session_belongs_to_a_repository(registry: Registry, method: str) -> None:
    """A session of one repository is unknown in another, and is not touched by what is tried there."""
    location = registry.start("app")
    elsewhere = location.replace("/app/", "/other/")
    assert registry.ask(method, f"{elsewhere}?digest={DIGEST}", body=CONTENT).error == (
        404,
        "BLOB_UPLOAD_UNKNOWN",
    )
    assert registry.ask("GET", location)["range"] == "0-0"


def test_a_body_that_breaks_off_leaves_nothing() -> None:
    """A single POST whose body ends early is SIZE_INVALID 400; neither a blob nor a session is left."""
    store = MemoryStore()
    registry = Registry(store=store)
    body = Pieces([CONTENT[:5]], SizeInvalid("the body ended early"))
    reply = registry.ask("POST", f"/v2/app/blobs/uploads/?digest={DIGEST}", body=body)
    assert reply.error == (400, "SIZE_INVALID")
    assert registry.ask("GET", f"/v2/app/blobs/{DIGEST}").status == 404
    assert not store._sessions


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_mount_makes_a_blob_visible(registry: Registry, algorithm: str) -> None:
    """A mount from a repository that holds the blob is 201, without a byte sent, and the source keeps it."""
    digest = registry.push_blob("source", CONTENT, digest_of(CONTENT, algorithm))
    reply = registry.ask("POST", f"/v2/target/blobs/uploads/?mount={digest}&from=source")
    assert_stored(reply, "target", digest)
    for repository in ("source", "target"):
        assert registry.ask("GET", f"/v2/{repository}/blobs/{digest}").body == CONTENT


@pytest.mark.parametrize("query", ["", "&from=", "&from=target"])
def test_a_mount_without_a_source(registry: Registry, query: str) -> None:
    """Without `from` the blob is taken from whatever repository holds it; from the target itself it may come too."""
    registry.push_blob("target" if query == "&from=target" else "somewhere", CONTENT)
    reply = registry.ask("POST", f"/v2/target/blobs/uploads/?mount={DIGEST}{query}")
    assert_stored(reply, "target", DIGEST)
    assert registry.ask("GET", f"/v2/target/blobs/{DIGEST}").body == CONTENT


@pytest.mark.parametrize("source", ["&from=empty", "&from=nowhere", "", "&from="])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_mount_of_nothing_starts_a_session(registry: Registry, algorithm: str, source: str) -> None:
    """What is not there to be mounted starts a normal session, 202, in which the blob can be uploaded."""
    digest = digest_of(CONTENT, algorithm)
    registry.push_blob("empty", b"other content")
    reply = registry.ask("POST", f"/v2/target/blobs/uploads/?mount={digest}{source}")
    assert_started(reply, "target")
    stored = registry.ask("PUT", f"{reply['location']}?digest={digest}", body=CONTENT)
    assert_stored(stored, "target", digest)


class Noting(MemoryStore):
    """Notes what its sessions are to be hashed with."""

    def __init__(self) -> None:
        super().__init__()
        self.algorithms: list[str] = []

    async def create_upload(self, repository: RepositoryName, algorithm: Algorithm) -> UploadId:
        self.algorithms.append(algorithm.value)
        return await super().create_upload(repository, algorithm)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_session_is_hashed_as_it_will_be_named(algorithm: str) -> None:
    """`digest-algorithm`, the digest of a single POST and that of a mount say what bytes are hashed with."""
    store = Noting()
    registry = Registry(store=store)
    digest = digest_of(CONTENT, algorithm)
    for query in (f"digest-algorithm={algorithm}", f"mount={digest}", f"mount={digest}&from=source"):
        registry.start("app", f"?{query}")
    registry.push_blob("app", CONTENT, digest)
    assert store.algorithms == [algorithm] * 4


def test_a_mount_is_from_the_repository_that_is_named(registry: Registry) -> None:
    """Where the source does not hold the blob another repository that does is no substitute: 202."""
    registry.push_blob("holder", CONTENT)
    registry.push_blob("source", b"other content")
    assert_started(registry.ask("POST", f"/v2/target/blobs/uploads/?mount={DIGEST}&from=source"), "target")
    assert registry.ask("HEAD", f"/v2/target/blobs/{DIGEST}").status == 404


def test_a_deleted_blob_cannot_be_mounted(registry: Registry) -> None:
    """What every repository has deleted is not mounted, though its bytes may still be on the disk."""
    registry.push_blob("source", CONTENT)
    registry.ask("DELETE", f"/v2/source/blobs/{DIGEST}")
    for source in ("", "&from=source"):
        assert_started(registry.ask("POST", f"/v2/target/blobs/uploads/?mount={DIGEST}{source}"), "target")


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("?mount=sha256:short", "DIGEST_INVALID"),
        ("?mount=", "DIGEST_INVALID"),
        (f"?mount={ABSENT}&from=Bad", "NAME_INVALID"),
        (f"?mount={ABSENT}&from=../other", "NAME_INVALID"),
        (f"?mount={ABSENT}&from=%2e%2e%2fother", "NAME_INVALID"),
        (f"?mount={ABSENT}&from=other%0A", "NAME_INVALID"),
    ],
)
def test_a_bad_mount_is_refused(registry: Registry, query: str, code: str) -> None:
    """A digest or a source that cannot be is 400, not a session."""
    assert registry.ask("POST", f"/v2/app/blobs/uploads/{query}").error == (400, code)


def test_a_session_can_be_cancelled() -> None:
    """DELETE of a session is 204; then it is unknown to every method, and its bytes are gone."""
    store = MemoryStore()
    registry = Registry(store=store)
    location = registry.start("app")
    registry.ask("PATCH", location, body=CONTENT)
    reply = registry.ask("DELETE", location)
    assert (reply.status, reply.body, "content-length" in reply) == (204, b"", False)
    for method in ("GET", "PATCH", "PUT", "DELETE"):
        target = f"{location}?digest={DIGEST}"
        assert registry.ask(method, target).error == (404, "BLOB_UPLOAD_UNKNOWN")
    assert not store._sessions


def test_the_same_blob_may_be_pushed_again(registry: Registry) -> None:
    """A push of what is there is 201 like the first, and changes nothing."""
    for _ in range(3):
        assert_stored(
            registry.ask("POST", f"/v2/app/blobs/uploads/?digest={DIGEST}", body=CONTENT), "app", DIGEST
        )
    assert registry.ask("GET", f"/v2/app/blobs/{sha512(CONTENT)}").status == 404
