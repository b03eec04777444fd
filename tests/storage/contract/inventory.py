"""How much is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cargohold.storage.protocols import DigestMismatch, NotFound
from cargohold.types.digest import Algorithm, Digest

from .base import LATEST, NOTHING, ONE, OTHER, Contract, commit, push, sample, started

if TYPE_CHECKING:
    from cargohold.storage.protocols import Store

    from .base import Pair

FIRST, SECOND = sample("first"), sample("second")
FIRST_BYTES, SECOND_BYTES = len(FIRST.manifest.content), len(SECOND.manifest.content)


async def held(store: Store) -> tuple[int, int, int]:
    """Bytes, sessions and repositories."""
    found = await store.totals()
    assert found is not None
    return found.content, found.uploads, found.repositories


class InventoryContract(Contract):
    """The rules of an `Inventory`."""

    async def test_no_runs_at_first(self, pair: Pair) -> None:
        """Where the garbage collector has never run, nothing is told of it."""
        for store in pair.stores:
            assert await store.runs() is None

    async def test_content_is_counted_once(self, pair: Pair) -> None:
        """What is stored counts with its first push, by any algorithm apart; to no other repository and never again."""
        await pair.store.recount(0)
        assert await held(pair.store) == (0, 0, 0)
        digest = await push(pair.store, ONE, b"12345")
        for store in pair.stores:
            assert await held(store) == (5, 0, 0)
            await push(store, ONE, b"12345")
            await push(store, OTHER, b"12345")
            await store.mount_blob(digest, ONE, OTHER)
            assert await held(store) == (5, 0, 0)
        await push(pair.store, ONE, b"12345", Algorithm.SHA512)
        assert await held(pair.second) == (10, 0, 0)
        await push(pair.second, ONE, b"")
        await pair.second.delete_blob(ONE, digest)
        assert await held(pair.store) == (10, 0, 0)

    async def test_sessions_that_are_open(self, pair: Pair) -> None:
        """A session counts until it ends, whichever way, and no more; its bytes do not."""
        await pair.store.recount(0)
        for number in range(1, 5):
            await started(pair.stores[number % 2], ONE, b"1234")
            assert await held(pair.store) == (0, number, 0)
        committed, mismatched, cancelled, expired = [
            await started(pair.store, OTHER, text) for text in (b"a", b"b", b"c", b"d")
        ]
        await pair.second.commit_upload(OTHER, committed, Digest.of(b"a"), 1)
        assert await held(pair.store) == (1, 7, 0)
        with pytest.raises(DigestMismatch):
            await pair.second.commit_upload(OTHER, mismatched, NOTHING, 1)
        await pair.second.cancel_upload(OTHER, cancelled)
        with pytest.raises(NotFound):
            await pair.store.cancel_upload(OTHER, cancelled)
        assert await held(pair.store) == (1, 5, 0)
        pair.age(OTHER, expired, 100)
        assert await pair.second.expire_uploads(50) == 1
        assert await held(pair.store) == (1, 4, 0)

    async def test_repositories_that_hold_a_manifest(self, pair: Pair) -> None:
        """A repository counts from its first manifest to its last; manifests count with their bytes, which stay."""
        await pair.store.recount(0)
        await commit(pair.store, ONE, FIRST, LATEST)
        assert await held(pair.second) == (FIRST_BYTES, 0, 1)
        await commit(pair.second, ONE, FIRST, LATEST)
        await commit(pair.second, ONE, SECOND)
        await commit(pair.store, OTHER, SECOND)
        every = FIRST_BYTES + SECOND_BYTES
        assert await held(pair.second) == (every, 0, 2)
        await pair.store.delete_tag(ONE, LATEST)
        await pair.store.delete_manifest(ONE, SECOND.digest)
        assert await held(pair.second) == (every, 0, 2)
        await pair.second.delete_manifest(ONE, FIRST.digest)
        assert await held(pair.store) == (every, 0, 1)
        with pytest.raises(NotFound):
            await pair.store.delete_manifest(ONE, FIRST.digest)
        await commit(pair.store, ONE, FIRST)
        assert await held(pair.store) == (every, 0, 2)

    async def test_a_count_finds_what_was_noted(self, pair: Pair) -> None:
        """To count all anew changes nothing where nobody else has stored anything."""
        await pair.store.recount(0)
        for number in range(20):
            await push(pair.store, ONE, b"%d" % number * 100)
            await started(pair.store, OTHER)
        await commit(pair.store, ONE, FIRST)
        before = await held(pair.store)
        await pair.second.recount(0)
        assert await held(pair.store) == before
