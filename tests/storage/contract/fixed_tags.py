"""Tags that must not move."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from cargohold.storage.protocols import Incomplete, TagFixed
from cargohold.types.names import Tag

from .base import LATEST, ONE, OTHER, Contract, Pair, Sample, document, sample, tags_of, target
from .racing import ROUNDS, race

if TYPE_CHECKING:
    from cargohold.storage.protocols import Store
    from cargohold.types.names import RepositoryName

V1, V2 = Tag("v1"), Tag("v2")
FIRST, SECOND = sample("first"), sample("second")


async def put(
    store: Store, of: Sample, *tags: Tag, fixed: str = "v", repository: RepositoryName = ONE
) -> None:
    """Commit a sample, where tags that begin so must not move."""
    await store.commit_manifest(
        repository, of.digest, of.manifest, tags, fixed=lambda tag: tag.startswith(fixed)
    )


class FixedTagContract(Contract):
    """Tags that must not move."""

    async def test_fixed_tag_does_not_move(self, store: Store, second: Store) -> None:
        """A commit that would move a fixed tag stores nothing, moves no other tag, and is told what it points to."""
        await put(store, FIRST, V1, LATEST)
        for tags in ((V1,), (LATEST, V1), (V1, LATEST), (V2, V1)):
            with pytest.raises(TagFixed) as caught:
                await put(second, SECOND, *tags)
            assert (caught.value.tag, caught.value.digest) == (V1, FIRST.digest)
        for each in (store, second):
            assert await target(each, ONE, V1) == await target(each, ONE, LATEST) == FIRST.digest
            assert await target(each, ONE, V2) is None
            assert await document(each, ONE, SECOND.digest) is None

    async def test_what_is_missing_comes_before_a_fixed_tag(self, store: Store) -> None:
        """A commit that lacks a blob, and would move a fixed tag, is told of the blob."""
        await put(store, FIRST, V1)
        with pytest.raises(Incomplete) as caught:
            await store.commit_manifest(
                ONE, SECOND.digest, SECOND.manifest, [V1], complete=True, fixed=lambda _: True
            )
        assert caught.value.missing == [*SECOND.manifest.blobs]

    async def test_fixed_tag_is_set_again(self, store: Store, second: Store) -> None:
        """What a fixed tag points to may be committed by it again; other tags move, also with it."""
        await put(store, FIRST, V1)
        await put(second, SECOND, LATEST)
        await put(second, FIRST, V1, LATEST)
        assert await tags_of(store, ONE) == [LATEST, V1]
        assert await target(store, ONE, LATEST) == FIRST.digest

    async def test_fixed_tag_of_another_repository(self, store: Store) -> None:
        """Each repository has its own tags."""
        await put(store, FIRST, V1)
        await put(store, SECOND, V1, repository=OTHER)
        assert await target(store, OTHER, V1) == SECOND.digest

    async def test_fixed_tag_after_deletion(self, store: Store, second: Store) -> None:
        """A fixed tag that is gone, by itself or with its manifest, may be set to anything."""
        await put(store, FIRST, V1)
        await second.delete_tag(ONE, V1)
        await put(second, SECOND, V1)
        await store.delete_manifest(ONE, SECOND.digest)
        await put(second, FIRST, V1)
        assert await target(store, ONE, V1) == FIRST.digest

    async def test_fixed_tag_is_won_by_one(self, pair: Pair) -> None:
        """Of two who set a new fixed tag at once to different manifests one does; the other has stored nothing."""
        for number in range(ROUNDS):
            tag = Tag(f"v{number}")
            samples = [sample(f"{number} {each}") for each in range(2)]
            taken = await race(
                number, *(put(store, of, tag) for store, of in zip(pair.stores, samples, strict=True))
            )
            assert sorted(taken) == [False, True]
            winner, loser = samples if taken[0] else samples[::-1]
            assert await target(pair.second, ONE, tag) == winner.digest
            assert await document(pair.store, ONE, loser.digest) is None

    async def test_fixed_tag_against_the_same(self, pair: Pair) -> None:
        """Many who set a new fixed tag to one manifest at once all do."""
        for number in range(ROUNDS // 4):
            tag = Tag(f"v{number}")
            await asyncio.gather(*(put(store, FIRST, tag) for store in pair.stores * 4))
            assert await target(pair.store, ONE, tag) == FIRST.digest
