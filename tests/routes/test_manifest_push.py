"""Manifests, pushed: by tag, by digest, with tags, with a subject; limits (spec.md, "Pushing Manifests")."""

from __future__ import annotations

import json

import pytest

from cargohold.config import Settings
from cargohold.config.sections import Manifests
from cargohold.types.oci import OCI_INDEX, OCI_MANIFEST
from tests.registry.documents import (
    ABSENT,
    ABSENT_CONTENT,
    CONFIG,
    LAYER,
    descriptor,
    digest_of,
    image,
    index,
    sha256,
    sha512,
)
from tests.routes.caller import Pieces, Registry, Reply, answered, request

TYPED = {"content-type": OCI_MANIFEST}
LARGEST = 4 * 2**20


@pytest.fixture
def registry() -> Registry:
    """With the blobs of an image in `app`."""
    made = Registry()
    made.push_layers("app")
    return made


def put(registry: Registry, reference: str, content: bytes, media_type: str | None = OCI_MANIFEST) -> Reply:
    headers = {"content-type": media_type} if media_type else {}
    return registry.ask("PUT", f"/v2/app/manifests/{reference}", headers, content)


def padded(size: int) -> bytes:
    """An index of exactly so many bytes."""
    bare = index([], annotations={"padding": ""})
    return index([], annotations={"padding": "x" * (size - len(bare))})


def test_a_push_by_tag(registry: Registry) -> None:
    """201 with the address by digest and the digest; the bytes come back as they were, by tag and by digest."""
    content = image()
    reply = put(registry, "v1", content)
    assert (reply.status, reply.body, reply["content-length"]) == (201, b"", "0")
    assert reply["location"] == f"/v2/app/manifests/{sha256(content)}"
    assert reply["docker-content-digest"] == sha256(content)
    assert ("oci-subject" in reply, "oci-tag" in reply) == (False, False)
    for reference in ("v1", sha256(content)):
        assert registry.ask("GET", f"/v2/app/manifests/{reference}").body == content
    assert registry.ask("GET", reply["location"]).body == content


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_push_by_digest(registry: Registry, algorithm: str) -> None:
    """A push by the digest of the bytes, of either algorithm, is 201 and makes no tag."""
    content = image()
    digest = digest_of(content, algorithm)
    reply = put(registry, digest, content)
    assert (reply.status, reply["docker-content-digest"]) == (201, digest)
    assert reply["location"] == f"/v2/app/manifests/{digest}"
    assert registry.ask("GET", reply["location"]).body == content
    assert registry.ask("GET", "/v2/app/tags/list").json == {"name": "app", "tags": []}


def test_a_push_by_another_digest_is_refused(registry: Registry) -> None:
    """A digest that is not that of the bytes is DIGEST_INVALID 400 and tells the one that is; nothing is stored."""
    content = image()
    for wrong in (ABSENT, sha512(ABSENT_CONTENT)):
        reply = put(registry, wrong, content)
        assert reply.error == (400, "DIGEST_INVALID")
        assert reply.errors[0]["detail"] == {"digest": wrong}
        assert str(digest_of(content, wrong[:6])) in reply.errors[0]["message"]
        for reference in (wrong, sha256(content)):
            assert registry.ask("GET", f"/v2/app/manifests/{reference}").status == 404


def test_the_bytes_are_kept_as_they_are(registry: Registry) -> None:
    """Spaces, the order of fields and unknown ones are part of the content: two writings are two manifests."""
    document = json.loads(image())
    writings = [
        json.dumps(document).encode(),
        json.dumps(document, indent=7).encode() + b"\n\n",
        json.dumps(dict(reversed(document.items()))).encode(),
        json.dumps(document | {"x-unknown": {"a": [1, None]}}).encode(),
    ]
    digests = {
        put(registry, f"v{number}", content)["docker-content-digest"]
        for number, content in enumerate(writings)
    }
    assert digests == set(map(sha256, writings))
    for number, content in enumerate(writings):
        assert registry.ask("GET", f"/v2/app/manifests/v{number}").body == content


def test_a_tag_moves(registry: Registry) -> None:
    """A push by a tag that exists moves it; what it pointed to is still there by its digest."""
    first, second = image(annotations={"n": "1"}), image(annotations={"n": "2"})
    for content in (first, second, second, first):
        put(registry, "v1", content)
        assert registry.ask("GET", "/v2/app/manifests/v1").body == content
    assert registry.ask("GET", f"/v2/app/manifests/{sha256(second)}").body == second


def test_what_is_referenced_must_be_there(registry: Registry) -> None:
    """Each missing config or layer is a MANIFEST_BLOB_UNKNOWN 404 of its own, with its digest; nothing is stored."""
    missing = [b"one", LAYER, b"two", b"one"]
    content = image(missing, b"another config")
    reply = put(registry, "v1", content)
    assert reply.status == 404
    assert reply.errors == [
        {
            "code": "MANIFEST_BLOB_UNKNOWN",
            "message": "blob unknown to registry",
            "detail": {"digest": sha256(each)},
        }
        for each in (b"another config", b"one", b"two")
    ]
    for reference in ("v1", sha256(content)):
        assert registry.ask("GET", f"/v2/app/manifests/{reference}").error == (404, "MANIFEST_UNKNOWN")
    assert registry.ask("GET", "/v2/app/tags/list").error == (404, "NAME_UNKNOWN")


def test_the_blobs_of_other_repositories_do_not_count(registry: Registry) -> None:
    """A blob that another repository holds is missing here, until it is mounted."""
    registry.push_blob("other", b"elsewhere")
    content = image([b"elsewhere"])
    assert put(registry, "v1", content).error == (404, "MANIFEST_BLOB_UNKNOWN")
    registry.ask("POST", f"/v2/app/blobs/uploads/?mount={sha256(b'elsewhere')}&from=other")
    assert put(registry, "v1", content).status == 201


def test_a_deleted_blob_does_not_count(registry: Registry) -> None:
    """A layer that was deleted is missing."""
    registry.ask("DELETE", f"/v2/app/blobs/{sha256(LAYER)}")
    assert put(registry, "v1", image()).error == (404, "MANIFEST_BLOB_UNKNOWN")


def test_blobs_count_by_the_name_that_they_have() -> None:
    """Blobs that were pushed by sha512 are found where the manifest names them so; by another name they are missing."""
    registry = Registry()
    for content in (CONFIG, LAYER):
        registry.push_blob("app", content, sha512(content))
    long = image(algorithm="sha512")
    assert put(registry, sha512(long), long).status == 201
    assert [entry["detail"]["digest"] for entry in put(registry, "v1", image()).errors] == [
        sha256(CONFIG),
        sha256(LAYER),
    ]


def test_children_must_be_there(registry: Registry) -> None:
    """An index whose child the repository does not hold is MANIFEST_BLOB_UNKNOWN 404."""
    child = image()
    content = index([descriptor(child, OCI_MANIFEST)])
    registry.push_layers("other")
    registry.push("other", "v1", child)
    reply = put(registry, "v1", content, OCI_INDEX)
    assert reply.error == (404, "MANIFEST_BLOB_UNKNOWN")
    assert reply.errors[0]["detail"] == {"digest": sha256(child)}
    put(registry, sha256(child), child)
    assert put(registry, "v1", content, OCI_INDEX).status == 201


def test_a_child_may_be_a_blob(registry: Registry) -> None:
    """An index of layers, as builders keep their caches, is taken where the repository holds them as blobs."""
    cache = index([descriptor(LAYER), descriptor(CONFIG, "application/vnd.buildkit.cacheconfig.v0")])
    assert put(registry, "cache", cache, OCI_INDEX).status == 201


def test_indexes_nest(registry: Registry) -> None:
    """An index may have indexes among its children, none at all, or the same one twice."""
    empty = index([])
    assert put(registry, "empty", empty, OCI_INDEX).status == 201
    twice = index([descriptor(empty, OCI_INDEX), descriptor(empty, OCI_INDEX)])
    assert put(registry, "twice", twice, OCI_INDEX).status == 201
    assert put(registry, "deep", index([descriptor(twice, OCI_INDEX)]), OCI_INDEX).status == 201


@pytest.mark.parametrize("content", [image([b"one", b"two"]), index([descriptor(b"one", OCI_MANIFEST)])])
def test_sparse_manifests_can_be_allowed(content: bytes) -> None:
    """With `manifests.allow_sparse` images lack blobs and indexes lack children; without, they are refused."""
    assert Registry().ask("PUT", "/v2/app/manifests/v1", body=content).status == 404
    sparse = Registry(Settings(manifests=Manifests(allow_sparse=True)))
    assert sparse.ask("PUT", "/v2/app/manifests/v1", body=content).status == 201
    assert sparse.ask("GET", "/v2/app/manifests/v1").body == content


@pytest.mark.parametrize(
    "tags",
    [["v1"], ["latest", "1", "1.2", "1.2.3"], [f"t{n}" for n in range(10)], [f"t{n}" for n in range(200)]],
)
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_push_by_digest_sets_tags(registry: Registry, algorithm: str, tags: list[str]) -> None:
    """`?tag=`, any number of times, sets each tag, and OCI-Tag names them all (end-7b)."""
    content = image()
    digest = digest_of(content, algorithm)
    reply = put(registry, f"{digest}?{'&'.join(f'tag={tag}' for tag in tags)}", content)
    assert reply.status == 201
    assert ", ".join(reply.all("oci-tag")).split(", ") == tags
    assert registry.ask("GET", "/v2/app/tags/list").json["tags"] == sorted(tags)
    for tag in tags:
        assert registry.ask("HEAD", f"/v2/app/manifests/{tag}")["docker-content-digest"] == digest


def test_a_tag_named_twice_is_one(registry: Registry) -> None:
    """Equal tags in the query count once."""
    content = image()
    reply = put(registry, f"{sha256(content)}?tag=b&tag=a&tag=b", content)
    assert (reply.status, reply["oci-tag"]) == (201, "b, a")


@pytest.mark.parametrize("tag", ["", ".hidden", "-x", "a/b", "a" * 129, "a%0A", "a%20b", "%C3%BC"])
def test_a_bad_tag_is_refused_where_it_is_written(registry: Registry, tag: str) -> None:
    """One bad tag in the query, among good ones, is MANIFEST_INVALID 400 with the reason, and nothing is stored."""
    content = image()
    reply = put(registry, f"{sha256(content)}?tag=good&tag={tag}", content)
    assert reply.error == (400, "MANIFEST_INVALID")
    assert "a tag has at most 128" in reply.errors[0]["message"]
    assert registry.ask("GET", f"/v2/app/manifests/{sha256(content)}").status == 404
    assert registry.ask("GET", "/v2/app/manifests/good").status == 404


@pytest.mark.parametrize("tag", ["", ".hidden", "-x", "a" * 129, "a\n", "a b", "ü", "a+b", "\x00"])
def test_a_bad_tag_in_the_path_is_refused(registry: Registry, tag: str) -> None:
    """A push by a tag that is none is MANIFEST_INVALID 400 with the reason."""
    reply = put(registry, tag, image())
    assert reply.error == (400, "MANIFEST_INVALID")
    assert "a tag has at most 128" in reply.errors[0]["message"]


@pytest.mark.parametrize("tag", ["a" * 128, "_", "1", "A-._z", "sha256-" + "a" * 64, "latest"])
def test_a_good_tag_is_taken(registry: Registry, tag: str) -> None:
    """128 characters of the grammar are a tag, those of the referrers' fallback among them."""
    assert put(registry, tag, image()).status == 201
    assert registry.ask("GET", "/v2/app/tags/list").json["tags"] == [tag]


def test_tags_in_the_query_go_with_a_digest(registry: Registry) -> None:
    """`?tag=` on a push by tag is MANIFEST_INVALID 400: what it should mean is not defined."""
    reply = put(registry, "v1?tag=v2", image())
    assert reply.error == (400, "MANIFEST_INVALID")
    assert registry.ask("GET", "/v2/app/manifests/v1").status == 404


@pytest.mark.parametrize("subject", [sha256(ABSENT_CONTENT), sha512(ABSENT_CONTENT)])
def test_a_subject_is_confirmed(registry: Registry, subject: str) -> None:
    """A manifest or index with a subject, there or not, is 201 with OCI-Subject."""
    named = {"mediaType": OCI_MANIFEST, "digest": subject, "size": 30}
    for content in (image(subject=named), index([], subject=named)):
        for reference in ("v1", sha256(content), sha512(content)):
            reply = put(registry, reference, content, None)
            assert (reply.status, reply["oci-subject"]) == (201, subject)


def test_the_largest_manifest(registry: Registry) -> None:
    """4 MiB are taken; one byte more is SIZE_INVALID 413 and names the limit, with the length announced or not."""
    content = padded(LARGEST)
    assert len(content) == LARGEST
    assert put(registry, "v1", content, OCI_INDEX).status == 201
    assert registry.ask("GET", "/v2/app/manifests/v1").body == content
    for body in (content + b" ", Pieces([content, b" "])):
        reply = registry.ask("PUT", "/v2/app/manifests/v2", {"content-type": OCI_INDEX}, body)
        assert reply.error == (413, "SIZE_INVALID")
        assert str(LARGEST) in reply.errors[0]["message"]
    assert registry.ask("GET", "/v2/app/manifests/v2").status == 404


def test_what_is_too_large_is_not_read(registry: Registry) -> None:
    """A body is refused by its announced length before it is read, and without one when it has passed the limit."""
    endless = Pieces([b" " * 2**20] * 100)
    assert registry.ask("PUT", "/v2/app/manifests/v1", body=endless).status == 413
    assert len(endless.pieces) >= 95
    announced = request("PUT", "/v2/app/manifests/v1", body=b" " * (LARGEST + 1))
    assert answered(registry.handle, announced).status == 413
    assert isinstance(announced.body, Pieces)
    assert announced.body.pieces


def test_the_limit_is_a_setting() -> None:
    """`manifests.max_bytes` is the largest manifest that is taken."""
    registry = Registry(Settings(manifests=Manifests(max_bytes=200)))
    for size, status in ((200, 201), (201, 413)):
        assert registry.ask("PUT", "/v2/app/manifests/v1", body=padded(size)).status == status


def test_a_body_in_pieces_is_one(registry: Registry) -> None:
    """A manifest that comes in pieces of no announced length is taken like any other."""
    content = image()
    body = Pieces([content[:10], content[10:]])
    assert registry.ask("PUT", "/v2/app/manifests/v1", TYPED, body)["docker-content-digest"] == sha256(
        content
    )
