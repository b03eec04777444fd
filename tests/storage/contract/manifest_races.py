"""Many tasks at once, on two stores over the same data: manifests, tags, referrers, lists."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from cargohold.storage.protocols import NotFound
from cargohold.types.digest import Digest
from cargohold.types.names import RepositoryName, Tag

from .base import (
    LATEST,
    ONE,
    Contract,
    Pair,
    Sample,
    commit,
    descriptors,
    document,
    sample,
    tags_of,
    target,
)
from .racing import ROUNDS, cancelled_after, done, eventually, race

if TYPE_CHECKING:
    from cargohold.storage.protocols import Store

FIRST, SECOND = sample("first"), sample("second")


class ManifestRaceContract(Contract):
    """Manifests, tags, referrers, lists."""

    async def test_delete_manifest_against_commit(self, pair: Pair) -> None:
        """Deleting a manifest while it is committed again ends with manifest and tag, or with neither."""
        made = sample("contended", subject=FIRST.digest)
        for number in range(ROUNDS):
            await commit(pair.store, ONE, made, LATEST)
            steps = [pair.second.delete_manifest(ONE, made.digest), commit(pair.store, ONE, made, LATEST)]
            assert await race(number, *steps) == [True, True]
            await _is_whole_or_gone(pair.store, ONE, made)
            await _is_whole_or_gone(pair.second, ONE, made)

    async def test_delete_manifest_against_first_commit(self, pair: Pair) -> None:
        """A deletion that meets the first commit of its manifest is refused, or takes the tag too."""
        for number in range(ROUNDS):
            made = sample(f"new {number}", subject=FIRST.digest)
            steps = [pair.second.delete_manifest(ONE, made.digest), commit(pair.store, ONE, made, LATEST)]
            deleted, committed = await race(number, *steps)
            assert committed
            assert (await document(pair.store, ONE, made.digest) is None) == deleted
            await _is_whole_or_gone(pair.store, ONE, made)
            if not deleted:
                assert await pair.store.delete_manifest(ONE, made.digest) == [LATEST]

    async def test_delete_manifest_against_move(self, pair: Pair) -> None:
        """Deleting a manifest never takes a tag that has moved on to another, nor moves it back."""
        for number in range(ROUNDS):
            await commit(pair.store, ONE, FIRST, LATEST)
            steps = [pair.second.delete_manifest(ONE, FIRST.digest), commit(pair.store, ONE, SECOND, LATEST)]
            assert await race(number, *steps) == [True, True]
            assert await document(pair.store, ONE, FIRST.digest) is None
            assert await target(pair.store, ONE, LATEST) == SECOND.digest
            assert await tags_of(pair.second, ONE) == [LATEST]

    async def test_delete_tag_against_move(self, pair: Pair) -> None:
        """A tag that is deleted while it moves is gone, or points to where it moved."""
        for number in range(ROUNDS):
            await commit(pair.store, ONE, FIRST, LATEST)
            steps = [pair.second.delete_tag(ONE, LATEST), commit(pair.store, ONE, SECOND, LATEST)]
            assert await race(number, *steps) == [True, True]
            found = await target(pair.store, ONE, LATEST)
            assert found in (None, SECOND.digest)
            assert await tags_of(pair.store, ONE) == ([LATEST] if found else [])

    async def test_many_delete_one(self, pair: Pair) -> None:
        """A manifest that many delete at once is deleted by one, who has all its tags; a tag likewise."""
        for _ in range(10):
            tags = [Tag(f"t{number}") for number in range(5)]
            await commit(pair.store, ONE, FIRST, *tags, LATEST)
            assert (
                sum(await asyncio.gather(*(done(each.delete_tag(ONE, LATEST)) for each in pair.stores * 2)))
                == 1
            )
            deletions = [each.delete_manifest(ONE, FIRST.digest) for each in pair.stores * 2]
            outcomes = await asyncio.gather(*deletions, return_exceptions=True)
            returned = [each for each in outcomes if isinstance(each, list)]
            assert [sorted(each) for each in returned] == [tags]
            assert sum(isinstance(each, NotFound) for each in outcomes) == 3

    async def test_moves_of_one_tag(self, pair: Pair) -> None:
        """Of many who move one tag at once one is last, and has it; the manifests are all there."""
        made = [sample(f"moved to {number}") for number in range(8)]
        await asyncio.gather(
            *(commit(pair.stores[number % 2], ONE, each, LATEST) for number, each in enumerate(made))
        )
        last = await target(pair.store, ONE, LATEST)
        assert last in [each.digest for each in made]
        assert await target(pair.second, ONE, LATEST) == last
        assert await pair.store.missing_manifests(ONE, [each.digest for each in made]) == []
        assert await tags_of(pair.store, ONE) == [LATEST]

    async def test_tag_means_manifest(self, pair: Pair) -> None:
        """A reader who sees a tag sees its manifest, while the tag moves on and on; the tag is never away."""
        await commit(pair.store, ONE, FIRST, LATEST)
        moving = True

        async def reader(store: Store) -> int:
            seen = set()
            while moving:
                digest = await store.resolve_tag(ONE, LATEST)
                assert Digest.of(await store.read_manifest(ONE, digest)) == digest
                assert await store.list_tags(ONE, "", 10) == [LATEST]
                seen.add(digest)
                await asyncio.sleep(0)
            return len(seen)

        readers = [asyncio.ensure_future(reader(each)) for each in pair.stores * 2]
        for number in range(ROUNDS):
            await commit(pair.store, ONE, sample(f"moved to {number}"), LATEST)
            await asyncio.sleep(0)
        moving = False
        assert max(await asyncio.gather(*readers)) > 1

    async def test_tag_never_dangles(self, pair: Pair) -> None:
        """A tag whose manifest has been deleted does not point there any more: the tag is gone first."""
        moving = True

        async def reader(store: Store) -> None:
            while moving:
                digest = await target(store, ONE, LATEST)
                if digest is not None and await store.missing_manifests(ONE, [digest]):
                    assert await target(store, ONE, LATEST) != digest
                await asyncio.sleep(0)

        readers = [asyncio.ensure_future(reader(each)) for each in pair.stores]
        for number in range(ROUNDS):
            made = sample(f"short-lived {number}")
            await commit(pair.store, ONE, made, LATEST)
            await asyncio.sleep(0)
            assert await pair.second.delete_manifest(ONE, made.digest) == [LATEST]
            await asyncio.sleep(0)
        moving = False
        await asyncio.gather(*readers)

    async def test_tags_by_many(self, pair: Pair) -> None:
        """Tags that many set at once in one repository are all there and all listed."""
        tags = [Tag(f"build-{number:03}") for number in range(50)]
        made = [FIRST, SECOND]
        await asyncio.gather(
            *(commit(pair.stores[n % 2], ONE, made[n % 2], tag) for n, tag in enumerate(tags))
        )
        for each in pair.stores:
            assert await tags_of(each, ONE) == tags
            assert [await target(each, ONE, tag) for tag in tags[:2]] == [FIRST.digest, SECOND.digest]

    async def test_repositories_by_many(self, pair: Pair) -> None:
        """Repositories that many make at once are all listed; none when many have emptied them at once."""
        names = [RepositoryName(f"made/{number:02}/{number % 3}") for number in range(30)]
        await asyncio.gather(
            *(commit(pair.stores[n % 2], name, FIRST, LATEST) for n, name in enumerate(names))
        )
        for each in pair.stores:
            assert await each.list_repositories("", 100) == names
        await asyncio.gather(
            *(pair.stores[n % 2].delete_manifest(name, FIRST.digest) for n, name in enumerate(names))
        )
        for each in pair.stores:
            assert await each.list_repositories("", 100) == []

    async def test_last_manifest_against_first(self, pair: Pair) -> None:
        """A repository whose last manifest goes while another comes is listed."""
        for number in range(ROUNDS):
            going, coming = (FIRST, SECOND) if number % 2 else (SECOND, FIRST)
            await commit(pair.store, ONE, going, LATEST)
            steps = [pair.second.delete_manifest(ONE, going.digest), commit(pair.store, ONE, coming, LATEST)]
            assert await race(number // 2, *steps) == [True, True]
            assert await pair.second.list_repositories("", 10) == [ONE]
            assert await tags_of(pair.second, ONE) == [LATEST]
            await pair.store.delete_manifest(ONE, coming.digest)
            assert await pair.second.list_repositories("", 10) == []

    async def test_referrers_by_many(self, pair: Pair) -> None:
        """Referrers that many commit at once are all listed; those that many delete at once are not."""
        made = [sample(f"of first {number}", FIRST.digest) for number in range(30)]
        await asyncio.gather(*(commit(pair.stores[n % 2], ONE, each) for n, each in enumerate(made)))
        assert await pair.second.list_referrers(ONE, FIRST.digest) == descriptors(FIRST.digest, made)
        await asyncio.gather(
            *(pair.stores[n % 2].delete_manifest(ONE, each.digest) for n, each in enumerate(made[::2]))
        )
        assert await pair.second.list_referrers(ONE, FIRST.digest) == descriptors(FIRST.digest, made[1::2])

    async def test_cancelled_manifest_commit(self, pair: Pair) -> None:
        """A cancelled commit or deletion is made whole or not at all; no tag points to nothing."""
        for pauses in range(30):
            made = sample(f"committed {pauses}", subject=FIRST.digest)
            name = RepositoryName(f"cancelled/{pauses}")
            settled = partial(_is_whole_or_gone, pair.store, name, made)
            await cancelled_after(commit(pair.store, name, made, LATEST), pauses)
            await commit(pair.second, name, made, LATEST)
            await eventually(settled)
            await cancelled_after(_delete(pair.store, name, made.digest), pauses)
            await done(pair.second.delete_manifest(name, made.digest))
            await eventually(settled)


async def _delete(store: Store, repository: RepositoryName, digest: Digest) -> None:
    await store.delete_manifest(repository, digest)


async def _is_whole_or_gone(store: Store, repository: RepositoryName, made: Sample) -> None:
    """Prove that manifest, tag and place among the referrers are all there or all gone."""
    is_there = await document(store, repository, made.digest) is not None
    assert await target(store, repository, LATEST) == (made.digest if is_there else None)
    expected = descriptors(FIRST.digest, [made] if is_there else [])
    assert await store.list_referrers(repository, FIRST.digest) == expected
    assert (await tags_of(store, repository) or []) == ([LATEST] if is_there else [])
