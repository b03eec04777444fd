"""The three stories of manifests: upload, download and deletion, example by example, as a client of HTTP sees them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx2
import pytest

from cargohold.types.oci import DOCKER_MANIFEST, DOCKER_MANIFEST_LIST, OCI_INDEX, OCI_MANIFEST
from tests.registry.documents import ABSENT, CONFIG, LAYER, descriptor, image, index, sha256

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.server import Server

IMAGES, INDEXES = (OCI_MANIFEST, DOCKER_MANIFEST), (OCI_INDEX, DOCKER_MANIFEST_LIST)


class Repository:
    """A repository of the test's own, and what it does there."""

    def __init__(self, client: httpx2.Client, server: Server, name: str) -> None:
        self.client = client
        self.path = f"/v2/{name}"
        self.name = name
        self.folder: Path = server.storage / "docker/registry/v2/repositories" / name

    def push_layers(self) -> None:
        for content in (CONFIG, LAYER):
            digest = sha256(content)
            answer = self.client.post(f"{self.path}/blobs/uploads/?digest={digest}", content=content)
            assert answer.status_code == 201

    def put(self, reference: str, content: bytes, media_type: str = OCI_MANIFEST) -> httpx2.Response:
        return self.client.put(
            f"{self.path}/manifests/{reference}", content=content, headers={"Content-Type": media_type}
        )

    def get(self, reference: str, **headers: str) -> httpx2.Response:
        return self.client.get(f"{self.path}/manifests/{reference}", headers=headers)

    def head(self, reference: str) -> httpx2.Response:
        return self.client.head(f"{self.path}/manifests/{reference}")

    def delete(self, reference: str) -> httpx2.Response:
        return self.client.delete(f"{self.path}/manifests/{reference}")

    def link(self, path: str) -> str:
        """What a link of the repository's folder holds."""
        return (self.folder / path / "link").read_text()


@pytest.fixture
def myimage(registry: Server, request: pytest.FixtureRequest) -> Iterator[Repository]:
    """A repository of the test's own, with the blobs of an image."""
    name = "myimage/" + "".join(
        character if character.isalnum() else "-" for character in request.node.name
    ).strip("-")
    with httpx2.Client(base_url=registry.url, timeout=30) as client:
        repository = Repository(client, registry, name.lower().replace("--", "-"))
        repository.push_layers()
        yield repository


def assert_error(answer: httpx2.Response, status: int, code: str, message: str) -> dict[str, object]:
    """That it is this one error in the one form; the entry."""
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert answer.json().keys() == {"errors"}
    (entry,) = answer.json()["errors"]
    assert (entry["code"], entry["message"]) == (code, message)
    assert isinstance(entry, dict)
    return entry


def test_upload_by_tag(myimage: Repository) -> None:
    """PUT by tag is 201 with Location and digest, SHA-256 of the raw bytes, which are kept as they are."""
    content = b"\n  " + image().replace(b": ", b" :\t") + b"\n"
    answer = myimage.put("v1.0", content)
    assert (answer.status_code, answer.content) == (201, b"")
    assert answer.headers["location"] == f"{myimage.path}/manifests/{sha256(content)}"
    assert answer.headers["docker-content-digest"] == sha256(content)
    assert myimage.get("v1.0").content == content


def test_upload_by_digest(myimage: Repository) -> None:
    """PUT by the digest of the bytes is 201, and any other digest is refused."""
    content = image()
    answer = myimage.put(sha256(content), content)
    assert (answer.status_code, answer.headers["location"]) == (
        201,
        f"{myimage.path}/manifests/{sha256(content)}",
    )
    assert myimage.put(ABSENT, content).json()["errors"][0]["code"] == "DIGEST_INVALID"


def test_upload_stores_revision_and_tag(myimage: Repository) -> None:
    """The manifest is a blob, a revision by digest and a tag link, which the next push of the tag moves."""
    first, second = image(), image(annotations={"second": "yes"})
    for content in (first, second):
        digest = sha256(content)
        myimage.put("v1.0", content)
        assert myimage.link(f"_manifests/revisions/sha256/{digest[7:]}") == digest
        assert myimage.link("_manifests/tags/v1.0/current") == digest
        assert myimage.link(f"_manifests/tags/v1.0/index/sha256/{digest[7:]}") == digest
        blobs = myimage.folder.parents[2] / "blobs/sha256"
        assert (blobs / digest[7:9] / digest[7:] / "data").read_bytes() == content
    assert myimage.get(sha256(first)).content == first


@pytest.mark.parametrize("field", ["config", "layers", "schemaVersion"])
def test_upload_of_an_invalid_manifest(myimage: Repository, field: str) -> None:
    """What is not JSON, or lacks a field that its type requires, is MANIFEST_INVALID 400."""
    document = json.loads(image())
    del document[field]
    for content in (b"not JSON", json.dumps(document).encode()):
        answer = myimage.put("v1.0", content)
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "MANIFEST_INVALID")
        assert answer.headers["content-type"] == "application/json"
    assert myimage.get("v1.0").status_code == 404


@pytest.mark.parametrize("content", [image([b"missing"]), image([LAYER], b"missing")])
def test_upload_with_a_missing_blob(myimage: Repository, content: bytes) -> None:
    """A config or layer that is not there is MANIFEST_BLOB_UNKNOWN 404 with its digest in the detail."""
    entry = assert_error(
        myimage.put("v1.0", content), 404, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry"
    )
    assert entry["detail"] == {"digest": sha256(b"missing")}


@pytest.mark.parametrize("media_type", [*IMAGES, *INDEXES])
def test_upload_of_each_media_type(myimage: Repository, media_type: str) -> None:
    """The four media types are taken and given back; a Content-Type of another type than the body's is refused."""
    image_type = dict(zip(INDEXES, IMAGES, strict=True)).get(media_type, media_type)
    content = image(media_type=image_type)
    if media_type in INDEXES:
        assert myimage.put(sha256(content), content, image_type).status_code == 201
        platform = {"architecture": "amd64", "os": "linux"}
        content = index([descriptor(content, image_type, platform=platform)], media_type=media_type)
    assert myimage.put("v1.0", content, media_type).status_code == 201
    assert myimage.get("v1.0").headers["content-type"] == media_type
    for other in {*IMAGES, *INDEXES} - {media_type}:
        answer = myimage.put("v1.0", content, other)
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "MANIFEST_INVALID")


def test_download_by_tag_and_digest(myimage: Repository) -> None:
    """GET is 200 with the manifest, its type, digest and length, by tag and by digest."""
    content = image()
    myimage.put("latest", content)
    for reference in ("latest", sha256(content)):
        for headers in ({}, {"Accept": OCI_MANIFEST}):
            answer = myimage.get(reference, **headers)
            assert (answer.status_code, answer.content) == (200, content)
            assert answer.headers["content-type"] == OCI_MANIFEST
            assert answer.headers["docker-content-digest"] == sha256(content)
            assert answer.headers["content-length"] == str(len(content))


def test_download_follows_the_tag(myimage: Repository) -> None:
    """A tag resolves to what it points to now, a digest to exactly its manifest."""
    first, second = image(), image(annotations={"second": "yes"})
    for content in (first, second):
        myimage.put("latest", content)
        assert myimage.get("latest").content == content
    assert myimage.get(sha256(first)).content == first


def test_existence(myimage: Repository) -> None:
    """HEAD is 200 with type, digest and length and no body, and 404 for what is not there."""
    content = image()
    myimage.put("latest", content)
    for reference in ("latest", sha256(content)):
        answer = myimage.head(reference)
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["content-type"] == OCI_MANIFEST
        assert answer.headers["docker-content-digest"] == sha256(content)
        assert answer.headers["content-length"] == str(len(content))
    for reference in ("unknown", ABSENT):
        assert (myimage.head(reference).status_code, myimage.head(reference).content) == (404, b"")


@pytest.mark.parametrize("reference", ["unknown", ABSENT])
def test_download_of_what_is_not_there(myimage: Repository, reference: str) -> None:
    """GET of an unknown tag or digest is MANIFEST_UNKNOWN 404."""
    assert_error(myimage.get(reference), 404, "MANIFEST_UNKNOWN", "manifest unknown to registry")


def test_negotiation(myimage: Repository) -> None:
    """Accept, with weights and on several lines: 200 where the manifest's type is among what is accepted, else 406."""
    content = image()
    myimage.put("latest", content)
    several = f"{OCI_INDEX};q=0.9, {OCI_MANIFEST};q=0.5, */*;q=0"
    for accept in (OCI_MANIFEST, several, "*/*", "application/*;q=0.1", "application/json"):
        assert myimage.get("latest", Accept=accept).content == content
    path = f"{myimage.path}/manifests/latest"
    lines = [("Accept", DOCKER_MANIFEST), ("Accept", OCI_INDEX), ("Accept", OCI_MANIFEST)]
    assert myimage.client.get(path, headers=lines).status_code == 200
    for accept in (DOCKER_MANIFEST, OCI_INDEX, f"{OCI_MANIFEST};q=0, */*", "text/html"):
        answer = myimage.get("latest", Accept=accept)
        assert (answer.status_code, answer.headers["content-type"]) == (406, "application/json")
    assert myimage.client.get(path, headers=lines[:2]).status_code == 406


def test_deletion(myimage: Repository) -> None:
    """DELETE by digest is 202: the revision and every tag that pointed to it are gone, the layers are not."""
    content, other = image(), image(annotations={"other": "yes"})
    for tag in ("a", "b"):
        myimage.put(tag, content)
    myimage.put("c", other)
    answer = myimage.delete(sha256(content))
    assert (answer.status_code, answer.content) == (202, b"")
    for reference in ("a", "b", sha256(content)):
        assert myimage.get(reference).status_code == 404
    assert not (myimage.folder / f"_manifests/revisions/sha256/{sha256(content)[7:]}/link").exists()
    assert not (myimage.folder / "_manifests/tags/a/current/link").exists()
    assert myimage.get("c").content == other
    for blob in (CONFIG, LAYER):
        assert myimage.link(f"_layers/sha256/{sha256(blob)[7:]}") == sha256(blob)
        assert myimage.client.get(f"{myimage.path}/blobs/{sha256(blob)}").content == blob


def test_deletion_of_what_is_not_there(myimage: Repository) -> None:
    """DELETE of an unknown digest, or of one deleted before, is MANIFEST_UNKNOWN 404."""
    content = image()
    myimage.put("latest", content)
    myimage.delete(sha256(content))
    for digest in (ABSENT, sha256(content)):
        assert_error(myimage.delete(digest), 404, "MANIFEST_UNKNOWN", "manifest unknown to registry")


def test_deletion_by_tag(myimage: Repository) -> None:
    """DELETE by tag is UNSUPPORTED 400 in these very words, and deletes nothing."""
    content = image()
    myimage.put("latest", content)
    answer = myimage.delete("latest")
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/json")
    assert answer.json() == {
        "errors": [{"code": "UNSUPPORTED", "message": "deletion by tag is not supported, use digest"}]
    }
    assert myimage.get("latest").content == content
