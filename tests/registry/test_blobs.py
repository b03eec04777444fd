"""Blobs: what the registry makes of a store's answers."""

from __future__ import annotations

import asyncio

import pytest

from cargohold.registry.blobs import Blobs
from cargohold.registry.uploads import Uploads
from cargohold.storage.memory import MemoryStore
from cargohold.storage.protocols import ContentBytes
from cargohold.types.errors import BlobUnknown
from cargohold.types.names import RepositoryName
from tests.registry.documents import ABSENT_CONTENT, LAYER, digest_of
from tests.routes.caller import Pieces

A, B, C = map(RepositoryName, ("a", "b", "c"))
DIGEST = digest_of(LAYER)


def filled() -> Blobs:
    """LAYER in `a`."""
    store = MemoryStore()
    asyncio.run(Uploads(store).receive(A, DIGEST, Pieces([LAYER])))
    return Blobs(store)


def test_a_miss_is_a_blob_unknown() -> None:
    """What a repository does not hold cannot be found or deleted, and the error names it."""
    blobs = filled()
    for repository, digest in ((B, DIGEST), (A, digest_of(ABSENT_CONTENT))):
        for ask in (blobs.find, blobs.delete):
            with pytest.raises(BlobUnknown) as raised:
                asyncio.run(ask(repository, digest))
            assert raised.value.detail == {"digest": digest}


def test_a_mount_tells_whether_it_was_done() -> None:
    """True where the source, or any repository, holds the blob, and False where not: that is no error."""
    blobs = filled()
    assert asyncio.run(blobs.mount(DIGEST, B, C, None)) is False
    assert asyncio.run(blobs.mount(DIGEST, A, B, None)) is True
    assert asyncio.run(blobs.mount(DIGEST, None, C, None)) is True
    assert asyncio.run(blobs.mount(digest_of(ABSENT_CONTENT), None, C, None)) is False
    for repository in (A, B, C):
        assert asyncio.run(blobs.find(repository, DIGEST)) == ContentBytes(LAYER)


def test_a_delete_is_of_one_repository() -> None:
    """What was mounted stays when the source lets go of it."""
    blobs = filled()
    asyncio.run(blobs.mount(DIGEST, A, B, None))
    asyncio.run(blobs.delete(A, DIGEST))
    assert asyncio.run(blobs.find(B, DIGEST)) == ContentBytes(LAYER)


def test_a_mount_sees_what_its_asker_sees() -> None:
    """A blob of a repository that is not visible is not there, with its repository named and without."""
    blobs = filled()
    for source in (A, None):
        assert asyncio.run(blobs.mount(DIGEST, source, B, lambda name: name != A)) is False
    with pytest.raises(BlobUnknown):
        asyncio.run(blobs.find(B, DIGEST))
    assert asyncio.run(blobs.mount(DIGEST, None, B, lambda name: name == A)) is True
