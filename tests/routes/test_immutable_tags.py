"""Pushes of tags that do not move: 403 DENIED where they would."""

from __future__ import annotations

import pytest

from cargohold.config import load
from tests.registry.documents import image, sha256
from tests.routes.caller import Registry, Reply

FIRST, SECOND = image(), image(annotations={"text": "second"})


@pytest.fixture
def registry() -> Registry:
    """With the blobs of an image in `prod/app` and in `app`; the tags v* of `prod/**` do not move."""
    settings = load(
        {
            "tags.immutable": [{"repository": "prod/**", "tags": ["v*"]}],
            "manifests.allow_tag_deletion": True,
        },
        {},
    )
    made = Registry(settings)
    for repository in ("prod/app", "app"):
        made.push_layers(repository)
    return made


def put(registry: Registry, reference: str, content: bytes, repository: str = "prod/app") -> Reply:
    return registry.ask("PUT", f"/v2/{repository}/manifests/{reference}", body=content)


def pulled(registry: Registry, reference: str, repository: str = "prod/app") -> bytes | None:
    reply = registry.ask("GET", f"/v2/{repository}/manifests/{reference}")
    return reply.body if reply.status == 200 else None


def test_a_push_that_would_move_it(registry: Registry) -> None:
    """It is DENIED 403 and says which tag, to what it points, and by which patterns; nothing of it is stored."""
    assert put(registry, "v1", FIRST).status == 201
    reply = put(registry, "v1", SECOND)
    assert reply.error == (403, "DENIED")
    message = reply.errors[0]["message"]
    assert all(word in message for word in ("v1", sha256(FIRST), "v* in prod/**"))
    assert reply.errors[0]["detail"] == {"tag": "v1", "digest": sha256(FIRST)}
    assert pulled(registry, "v1") == FIRST
    assert pulled(registry, sha256(SECOND)) is None


def test_the_same_again(registry: Registry) -> None:
    """The manifest that it points to may be pushed again, by the tag, and by its digest with the tag beside."""
    for reference in ("v1", "v1", f"{sha256(FIRST)}?tag=v1"):
        assert put(registry, reference, FIRST).status == 201
    assert pulled(registry, "v1") == FIRST


def test_tags_beside_a_digest(registry: Registry) -> None:
    """A push by digest that would move one of its tags sets none of them."""
    assert put(registry, "v1", FIRST).status == 201
    reply = put(registry, f"{sha256(SECOND)}?tag=edge&tag=v1&tag=v2", SECOND)
    assert reply.error == (403, "DENIED")
    assert [pulled(registry, tag) for tag in ("edge", "v1", "v2", sha256(SECOND))] == [
        None,
        FIRST,
        None,
        None,
    ]
    assert put(registry, f"{sha256(SECOND)}?tag=edge&tag=v2", SECOND).status == 201


def test_other_tags_and_repositories_move(registry: Registry) -> None:
    """What no pattern names moves with each push."""
    for content in (FIRST, SECOND):
        assert put(registry, "edge", content).status == 201
        assert put(registry, "v1", content, "app").status == 201
    assert (pulled(registry, "edge"), pulled(registry, "v1", "app")) == (SECOND, SECOND)


@pytest.mark.parametrize("reference", ["v1", sha256(FIRST)])
def test_it_can_be_deleted(registry: Registry, reference: str) -> None:
    """Immutable says nothing of deletion: whoever may delete can, and then push another."""
    assert put(registry, "v1", FIRST).status == 201
    assert registry.ask("DELETE", f"/v2/prod/app/manifests/{reference}").status == 202
    assert put(registry, "v1", SECOND).status == 201
    assert pulled(registry, "v1") == SECOND
