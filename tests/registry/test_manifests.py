"""Manifests: what is judged, what is told of what is missing, and what is remembered."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from typing import Any

import pytest

from cargohold.registry import manifests as module
from cargohold.registry.manifests import Manifests, Pulled, Pushed
from cargohold.storage.memory import MemoryStore
from cargohold.types.accept import Accept
from cargohold.types.errors import (
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    NotAcceptable,
    Unsupported,
)
from cargohold.types.names import RepositoryName, Tag
from cargohold.types.oci import OCI_INDEX, OCI_MANIFEST
from tests.registry.documents import ABSENT_CONTENT, descriptor, digest_of, image, index

APP = RepositoryName("app")
ANYTHING = Accept.parse([])


def sparse() -> Manifests:
    return Manifests(MemoryStore(), allow_sparse=True)


@pytest.mark.parametrize("padding", [0, 200_000])
def test_small_and_large_manifests_are_judged_alike(padding: int) -> None:
    """A manifest that is judged in a thread, for its size, passes and fails as a small one does."""
    manifests = sparse()
    content = index([], annotations={"padding": "x" * padding})

    async def case() -> None:
        pushed = await manifests.push(APP, Tag("v1"), [], content, OCI_INDEX)
        assert pushed == Pushed(digest_of(content), None, (Tag("v1"),))
        assert await manifests.pull(APP, Tag("v1"), ANYTHING) == Pulled(
            digest_of(content), OCI_INDEX, content
        )
        with pytest.raises(ManifestInvalid):
            await manifests.push(APP, Tag("v1"), [], content, OCI_MANIFEST)
        with pytest.raises(ManifestInvalid):
            await manifests.push(APP, Tag("v1"), [], content[:-1], OCI_INDEX)
        with pytest.raises(DigestInvalid):
            await manifests.push(APP, digest_of(ABSENT_CONTENT), [], content, OCI_INDEX)

    asyncio.run(case())


def test_two_large_manifests_are_judged_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many come at once, no more than two are being read; the others wait, and pass as well."""
    judge, lock, most, now = module._judge, threading.Lock(), 0, 0

    def counted(*asked: Any) -> Any:
        nonlocal most, now
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.02)
        judged = judge(*asked)
        with lock:
            now -= 1
        return judged

    monkeypatch.setattr(module, "_judge", counted)
    manifests = sparse()

    async def push(number: int) -> Pushed:
        content = index([], annotations={"padding": "x" * 200_000, "n": str(number)})
        return await manifests.push(APP, Tag(f"v{number}"), [], content, None)

    async def case() -> None:
        pushed = await asyncio.gather(*map(push, range(12)))
        assert len({each.digest for each in pushed}) == 12

    asyncio.run(case())
    assert most == 2


def test_a_hundred_that_are_missing_are_told() -> None:
    """However much is missing, the error stays of a size that a client can read."""
    manifests = Manifests(MemoryStore())
    content = image([str(number).encode() for number in range(300)])
    with pytest.raises(ManifestBlobUnknown) as raised:
        asyncio.run(manifests.push(APP, Tag("v1"), [], content, OCI_MANIFEST))
    assert len(raised.value.entries()) == 100


def test_what_is_missing_is_told_before_anything_is_stored() -> None:
    """A manifest that is refused leaves no revision, no tag and no repository."""
    store = MemoryStore()
    children = [descriptor(image(), OCI_MANIFEST)]
    with pytest.raises(ManifestBlobUnknown):
        asyncio.run(Manifests(store).push(APP, Tag("v1"), [Tag("v2")], index(children), OCI_INDEX))
    assert asyncio.run(store.list_repositories("", 10)) == []


def test_the_type_is_found_out_again_when_the_memory_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """The types that are remembered are bounded; those forgotten are found out anew, and right."""
    monkeypatch.setattr(module, "_KNOWN_TYPES", 3)
    manifests = sparse()
    contents = [
        index([], annotations={"n": str(n)}) if n % 2 else image(annotations={"n": str(n)}) for n in range(8)
    ]

    async def case() -> None:
        for content in contents:
            await manifests.push(APP, digest_of(content), [], content, None)
        for content in contents * 2:
            pulled = await manifests.pull(APP, digest_of(content), ANYTHING)
            assert pulled.media_type == (OCI_INDEX if b'"manifests"' in content else OCI_MANIFEST)
            assert len(manifests._media_types) <= 3

    asyncio.run(case())


def test_a_miss_and_a_refusal_are_told_apart() -> None:
    """What is not there is unknown; what is there in another type is not acceptable."""
    manifests = sparse()

    async def case() -> None:
        await manifests.push(APP, Tag("v1"), [], image(), OCI_MANIFEST)
        with pytest.raises(NotAcceptable, match=re.escape(OCI_MANIFEST)):
            await manifests.pull(APP, Tag("v1"), Accept.parse([OCI_INDEX]))
        with pytest.raises(ManifestUnknown) as raised:
            await manifests.pull(APP, Tag("v2"), Accept.parse([OCI_INDEX]))
        assert not isinstance(raised.value, NotAcceptable)

    asyncio.run(case())


def test_a_tag_is_deleted_where_that_is_allowed() -> None:
    """By default a delete by tag is not supported; where it is, the manifest stays."""
    store = MemoryStore()
    content = index([])

    async def case() -> None:
        strict, lenient = Manifests(store), Manifests(store, allow_tag_deletion=True)
        await strict.push(APP, Tag("v1"), [], content, None)
        with pytest.raises(Unsupported, match="use digest"):
            await strict.delete(APP, Tag("v1"))
        await lenient.delete(APP, Tag("v1"))
        with pytest.raises(ManifestUnknown):
            await lenient.delete(APP, Tag("v1"))
        assert (await strict.pull(APP, digest_of(content), ANYTHING)).content == content

    asyncio.run(case())
