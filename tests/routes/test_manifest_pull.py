"""Manifests, pulled: by tag and digest, negotiated, on conditions (spec.md, "Pulling manifests"; RFC 9110, 12.5.1)."""

from __future__ import annotations

import asyncio
import json

import pytest

from cargohold.types.digest import Digest
from cargohold.types.names import RepositoryName, Tag
from cargohold.types.oci import DOCKER_MANIFEST, DOCKER_SCHEMA1_SIGNED, OCI_INDEX, OCI_MANIFEST, Manifest
from tests.registry.documents import ABSENT, ABSENT_CONTENT, image, index, sha256, sha512
from tests.routes.caller import Registry

CONTENT = image()
DIGEST = sha256(CONTENT)
BY_TAG, BY_DIGEST = "/v2/app/manifests/v1", f"/v2/app/manifests/{DIGEST}"


@pytest.fixture
def registry() -> Registry:
    """With CONTENT as v1 in `app`."""
    made = Registry()
    made.push_layers("app")
    made.push("app", "v1", CONTENT, OCI_MANIFEST)
    return made


@pytest.mark.parametrize("path", [BY_TAG, BY_DIGEST])
def test_a_pull_gives_the_manifest_and_what_it_is(registry: Registry, path: str) -> None:
    """GET is 200 with type (and no parameters), length, digest and entity tag; HEAD says the same without the bytes."""
    got, headers = registry.ask("GET", path), registry.ask("HEAD", path)
    assert (got.status, got.body, headers.status, headers.body) == (200, CONTENT, 200, b"")
    assert got.lasting == headers.lasting
    assert got["content-type"] == OCI_MANIFEST
    assert got["content-length"] == str(len(CONTENT))
    assert got["docker-content-digest"] == DIGEST
    assert got["etag"] == f'"{DIGEST}"'


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("reference", ["v2", "V1", ABSENT, sha512(ABSENT_CONTENT), sha512(CONTENT)])
@pytest.mark.parametrize("repository", ["app", "nowhere", "app/inner"])
def test_what_is_not_there_is_unknown(
    registry: Registry, method: str, reference: str, repository: str
) -> None:
    """A tag or digest that the repository does not hold is MANIFEST_UNKNOWN 404; so is all of an unknown repository."""
    reply = registry.ask(method, f"/v2/{repository}/manifests/{reference}")
    assert reply.error == (404, "MANIFEST_UNKNOWN")
    assert reply.errors[0]["message"] == "manifest unknown to registry"
    assert reply.errors[0]["detail"] == {"reference": reference}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("tag", ["", ".hidden", "-x", "a" * 129, "v1\n", "v 1", "ü", "..", "v1;x", "\x00"])
def test_a_bad_tag_is_unknown_where_it_is_read(registry: Registry, method: str, tag: str) -> None:
    """No manifest has a tag that is none: MANIFEST_UNKNOWN 404."""
    assert registry.ask(method, f"/v2/app/manifests/{tag}").error == (404, "MANIFEST_UNKNOWN")


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [""],
        [OCI_MANIFEST],
        [OCI_MANIFEST.upper()],
        [f"{OCI_MANIFEST};q=0.1"],
        [f"{DOCKER_MANIFEST}, {OCI_INDEX}, {OCI_MANIFEST}"],
        [DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST],
        ["*/*"],
        ["application/*"],
        ["application/json"],
        ["text/html, */*;q=0.1"],
        ["image/*", "application/*;q=0.01"],
        [f"*/*;q=0, {OCI_MANIFEST}"],
        [f"{OCI_MANIFEST};charset=utf-8"],
        ["malformed"],
    ],
)
def test_what_is_accepted_is_given(registry: Registry, lines: list[str]) -> None:
    """The type itself, a wildcard, `application/json`, one of several lines, or no Accept at all: 200."""
    for method in ("GET", "HEAD"):
        for path in (BY_TAG, BY_DIGEST):
            reply = registry.ask(method, path, [("accept", line) for line in lines])
            assert (reply.status, reply["content-type"]) == (200, OCI_MANIFEST)


@pytest.mark.parametrize(
    "lines",
    [
        [OCI_INDEX],
        [DOCKER_MANIFEST],
        [f"{DOCKER_MANIFEST}, {OCI_INDEX}"],
        [DOCKER_MANIFEST, OCI_INDEX],
        ["text/html"],
        ["image/*"],
        [f"{OCI_MANIFEST};q=0"],
        [f"{OCI_MANIFEST};q=0.000, */*"],
        ["*/*;q=0"],
        ["application/*;q=0, */*"],
        ["application/xml"],
    ],
)
def test_what_is_not_accepted_is_406(registry: Registry, lines: list[str]) -> None:
    """A type that the client does not take, or excludes by q=0, is 406 MANIFEST_UNKNOWN, naming its own."""
    for method in ("GET", "HEAD"):
        for path in (BY_TAG, BY_DIGEST):
            reply = registry.ask(method, path, [("accept", line) for line in lines])
            assert reply.error == (406, "MANIFEST_UNKNOWN")
            assert OCI_MANIFEST in reply.errors[0]["message"]


def test_nothing_is_converted(registry: Registry) -> None:
    """An index is never answered by one of its images: a client that takes images alone gets 406."""
    platform = {"mediaType": OCI_MANIFEST, "digest": DIGEST, "size": len(CONTENT)}
    registry.push("app", "all", index([{**platform, "platform": {"architecture": "amd64", "os": "linux"}}]))
    assert registry.ask("GET", "/v2/app/manifests/all", {"accept": OCI_MANIFEST}).status == 406
    both = registry.ask("GET", "/v2/app/manifests/all", {"accept": f"{OCI_MANIFEST}, {OCI_INDEX};q=0.1"})
    assert both["content-type"] == OCI_INDEX


def test_a_miss_is_a_miss_whatever_is_accepted(registry: Registry) -> None:
    """What is not there is 404, not 406."""
    assert registry.ask("GET", "/v2/app/manifests/v2", {"accept": "text/html"}).status == 404


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", [BY_TAG, BY_DIGEST])
@pytest.mark.parametrize(
    ("tag", "status"),
    [
        (f'"{DIGEST}"', 304),
        (f'W/"{DIGEST}"', 304),
        ("*", 304),
        (f'"x", "{DIGEST}"', 304),
        ('"x"', 200),
        (DIGEST, 200),
    ],
)
def test_what_the_client_has_is_not_sent(
    registry: Registry, method: str, path: str, tag: str, status: int
) -> None:
    """If-None-Match with the entity tag is 304 with digest and tag, and without a body."""
    reply = registry.ask(method, path, {"if-none-match": tag})
    assert (reply.status, reply["docker-content-digest"], reply["etag"]) == (status, DIGEST, f'"{DIGEST}"')
    if status == 304:
        assert (reply.body, "content-length" in reply) == (b"", False)


def test_a_condition_may_have_several_lines(registry: Registry) -> None:
    """The entity tag counts on whichever line of If-None-Match it stands."""
    lines = [("if-none-match", '"x"'), ("if-none-match", f'"y", "{DIGEST}"')]
    assert registry.ask("GET", BY_TAG, lines).status == 304
    assert registry.ask("GET", BY_TAG, lines[:1]).status == 200


def test_a_tag_that_moved_is_sent(registry: Registry) -> None:
    """The entity tag of a tag is that of what it points to: after it has moved, the old one matches no more."""
    content = image(annotations={"moved": "yes"})
    registry.push("app", "v1", content)
    assert registry.ask("GET", BY_TAG, {"if-none-match": f'"{DIGEST}"'}).body == content


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (json.dumps({"schemaVersion": 1, "fsLayers": [], "signatures": []}).encode(), DOCKER_SCHEMA1_SIGNED),
        (b"\x00 not JSON", "application/octet-stream"),
        (b'{"mediaType":"a b\\r\\nx: y"}', OCI_MANIFEST),
        (b'{"mediaType":"application/vnd.example.v1+json"}', "application/vnd.example.v1+json"),
    ],
)
def test_what_another_server_stored_is_served(content: bytes, media_type: str) -> None:
    """A manifest that would be refused today is served as it is, with the type that it names or its fields tell."""
    registry = Registry()
    stored = Manifest(media_type="", content=content, blobs=(), manifests=(), subject=None)
    repository, digest = RepositoryName("old"), Digest.of(content)
    asyncio.run(registry.store.commit_manifest(repository, digest, stored, [Tag("v1")]))
    reply = registry.ask("GET", "/v2/old/manifests/v1")
    assert (reply.status, reply.body, reply["content-type"]) == (200, content, media_type)
