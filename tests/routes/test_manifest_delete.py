"""Manifests and tags, deleted (spec.md, "Deleting Manifests", "Deleting tags")."""

from __future__ import annotations

import pytest

from cargohold.config import Settings
from cargohold.config.sections import Manifests
from cargohold.types.oci import OCI_MANIFEST
from tests.registry.documents import (
    ABSENT,
    CONFIG,
    LAYER,
    descriptor,
    digest_of,
    image,
    index,
    sha256,
    sha512,
)
from tests.routes.caller import Registry

CONTENT, OTHER = image(), image(annotations={"other": "yes"})
DIGEST = sha256(CONTENT)
ALLOWED = Settings(manifests=Manifests(allow_tag_deletion=True))


def filled(settings: Settings | None = None) -> Registry:
    """CONTENT as a, b and latest, OTHER as c, in `app`."""
    registry = Registry(settings)
    registry.push_layers("app")
    for tag in ("a", "b", "latest"):
        registry.push("app", tag, CONTENT)
    registry.push("app", "c", OTHER)
    return registry


@pytest.mark.parametrize("settings", [None, ALLOWED])
def test_a_delete_takes_the_tags_along(settings: Settings | None) -> None:
    """DELETE by digest is 202; the manifest and every tag that pointed to it are gone, and nothing else."""
    registry = filled(settings)
    reply = registry.ask("DELETE", f"/v2/app/manifests/{DIGEST}")
    assert (reply.status, reply.body, reply["content-length"]) == (202, b"", "0")
    for reference in (DIGEST, "a", "b", "latest"):
        for method in ("GET", "HEAD"):
            assert registry.ask(method, f"/v2/app/manifests/{reference}").error == (404, "MANIFEST_UNKNOWN")
    assert registry.ask("GET", "/v2/app/tags/list").json["tags"] == ["c"]
    assert registry.ask("GET", "/v2/app/manifests/c").body == OTHER


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_each_digest_is_deleted_for_itself(algorithm: str) -> None:
    """One content pushed by two digests is two manifests: the delete of one leaves the other with its tags."""
    registry = filled()
    registry.push("app", f"{sha512(CONTENT)}?tag=long", CONTENT)
    digests = {"sha256": DIGEST, "sha512": sha512(CONTENT)}
    assert registry.ask("DELETE", f"/v2/app/manifests/{digests.pop(algorithm)}").status == 202
    (left,) = digests.values()
    assert registry.ask("GET", f"/v2/app/manifests/{left}").body == CONTENT
    tags = registry.ask("GET", "/v2/app/tags/list").json["tags"]
    assert tags == (["c", "long"] if algorithm == "sha256" else ["a", "b", "c", "latest"])


def test_the_layers_stay() -> None:
    """The blobs of a deleted manifest are still in the repository, and the manifest can be pushed again."""
    registry = filled()
    registry.ask("DELETE", f"/v2/app/manifests/{DIGEST}")
    for content in (CONFIG, LAYER):
        assert registry.ask("GET", f"/v2/app/blobs/{sha256(content)}").body == content
    registry.push("app", "again", CONTENT)
    assert registry.ask("GET", "/v2/app/tags/list").json["tags"] == ["again", "c"]


def test_the_children_stay() -> None:
    """The delete of an index leaves its images; that of an image leaves the index, which then lacks a child."""
    registry = filled()
    content = index([descriptor(CONTENT, OCI_MANIFEST)])
    registry.push("app", "all", content)
    assert registry.ask("DELETE", f"/v2/app/manifests/{DIGEST}").status == 202
    assert registry.ask("GET", "/v2/app/manifests/all").body == content
    registry.push("app", "a", CONTENT)
    assert registry.ask("DELETE", f"/v2/app/manifests/{sha256(content)}").status == 202
    assert registry.ask("GET", "/v2/app/manifests/a").body == CONTENT


def test_a_second_delete_finds_nothing() -> None:
    """What is not there, or not any more, or nowhere, is MANIFEST_UNKNOWN 404."""
    registry = filled()
    registry.ask("DELETE", f"/v2/app/manifests/{DIGEST}")
    for target in (f"app/manifests/{DIGEST}", f"app/manifests/{ABSENT}", f"nowhere/manifests/{DIGEST}"):
        reply = registry.ask("DELETE", f"/v2/{target}")
        assert reply.error == (404, "MANIFEST_UNKNOWN")
        assert reply.errors[0]["message"] == "manifest unknown to registry"


def test_other_repositories_keep_theirs() -> None:
    """A manifest is deleted in one repository; the same one in another stays with its tags."""
    registry = filled()
    registry.push_layers("other")
    registry.push("other", "a", CONTENT)
    registry.ask("DELETE", f"/v2/app/manifests/{DIGEST}")
    assert registry.ask("GET", "/v2/other/manifests/a").body == CONTENT


@pytest.mark.parametrize("tag", ["latest", "unknown"])
@pytest.mark.parametrize("repository", ["app", "nowhere"])
def test_a_tag_is_not_deleted(repository: str, tag: str) -> None:
    """DELETE by tag is UNSUPPORTED 400 and says to use the digest, whether the tag is there or not; nothing changes."""
    registry = filled()
    reply = registry.ask("DELETE", f"/v2/{repository}/manifests/{tag}")
    assert reply.status == 400
    assert reply.errors == [
        {"code": "UNSUPPORTED", "message": "deletion by tag is not supported, use digest"}
    ]
    assert registry.ask("GET", "/v2/app/tags/list").json["tags"] == ["a", "b", "c", "latest"]


def test_a_tag_is_deleted_where_it_is_allowed() -> None:
    """With `manifests.allow_tag_deletion` it is 202, and the tag alone goes: the manifest and its other tags stay."""
    registry = filled(ALLOWED)
    assert registry.ask("DELETE", "/v2/app/manifests/latest").status == 202
    assert registry.ask("GET", "/v2/app/manifests/latest").error == (404, "MANIFEST_UNKNOWN")
    assert registry.ask("GET", "/v2/app/tags/list").json["tags"] == ["a", "b", "c"]
    assert registry.ask("GET", f"/v2/app/manifests/{DIGEST}").body == CONTENT
    for target in ("app/manifests/latest", "app/manifests/never", "nowhere/manifests/latest"):
        assert registry.ask("DELETE", f"/v2/{target}").error == (404, "MANIFEST_UNKNOWN")


def test_the_last_tag_leaves_the_repository() -> None:
    """A repository whose tags are all gone still exists by its manifests; with the last of them it goes."""
    registry = filled(ALLOWED)
    for tag in ("a", "b", "c", "latest"):
        assert registry.ask("DELETE", f"/v2/app/manifests/{tag}").status == 202
    assert registry.ask("GET", "/v2/app/tags/list").json == {"name": "app", "tags": []}
    assert registry.ask("GET", "/v2/_catalog").json == {"repositories": ["app"]}
    for content in (CONTENT, OTHER):
        assert registry.ask("DELETE", f"/v2/app/manifests/{digest_of(content)}").status == 202
    assert registry.ask("GET", "/v2/app/tags/list").error == (404, "NAME_UNKNOWN")
    assert registry.ask("GET", "/v2/_catalog").json == {"repositories": []}


@pytest.mark.parametrize("settings", [None, ALLOWED])
def test_a_bad_reference_is_not_deleted(settings: Settings | None) -> None:
    """A digest that is none is DIGEST_INVALID 400; a tag that is none is MANIFEST_UNKNOWN 404."""
    registry = filled(settings)
    assert registry.ask("DELETE", "/v2/app/manifests/sha256:x").error == (400, "DIGEST_INVALID")
    assert registry.ask("DELETE", "/v2/app/manifests/.x").error == (404, "MANIFEST_UNKNOWN")
