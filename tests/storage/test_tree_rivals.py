"""Two workers of ours and another server at one tree: whatever they do, every list is right at the next request."""

from __future__ import annotations

import asyncio
import random
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from cargohold.storage.filesystem import FilesystemStore
from cargohold.storage.protocols import NotFound
from cargohold.types.digest import Digest
from cargohold.types.names import RepositoryName, Tag

from .contract.base import commit, descriptors, sample, tags_of
from .foreign import Foreign

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .contract.base import Sample

pytestmark = pytest.mark.usefixtures("loop")

SUBJECT = Digest.of(b"a subject that need not be there")
SAMPLES = [sample(f"sample {number}", SUBJECT if number % 2 else None) for number in range(5)]
TAGS = [Tag(f"tag{number}") for number in range(4)]
REPOSITORIES = [RepositoryName(name) for name in ("a", "a/b", "c")]
STEPS = 200


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[list[FilesystemStore]]:
    made = [FilesystemStore(str(tmp_path)) for _ in range(2)]
    made[0].prepare()
    yield made
    for store in made:
        store.close()


class Model:
    """What must be there: by repository, its manifests, and what its tags point to."""

    def __init__(self) -> None:
        self.manifests: dict[RepositoryName, set[Digest]] = {name: set() for name in REPOSITORIES}
        self.tags: dict[RepositoryName, dict[Tag, Digest]] = {name: {} for name in REPOSITORIES}

    def push(self, name: RepositoryName, of: Sample, tags: list[Tag]) -> None:
        self.manifests[name].add(of.digest)
        self.tags[name] |= dict.fromkeys(tags, of.digest)

    def delete(self, name: RepositoryName, of: Sample) -> list[Tag]:
        """The tags that go with it."""
        self.manifests[name].remove(of.digest)
        gone = [tag for tag, digest in self.tags[name].items() if digest == of.digest]
        for tag in gone:
            del self.tags[name][tag]
        return gone

    async def check(self, store: FilesystemStore) -> None:
        expected = [name for name in REPOSITORIES if self.manifests[name]]
        assert await store.list_repositories("", 10) == expected
        for name in REPOSITORIES:
            tags = sorted(self.tags[name]) if self.manifests[name] else None
            assert await tags_of(store, name) == tags
            for tag, digest in self.tags[name].items():
                assert await store.resolve_tag(name, tag) == digest
            there = [each for each in SAMPLES if each.digest in self.manifests[name]]
            assert await store.list_referrers(name, SUBJECT) == descriptors(SUBJECT, there)


@pytest.mark.parametrize("seed", range(3))
async def test_in_turn(stores: list[FilesystemStore], seed: int) -> None:
    """Any of the three pushes, moves or deletes, and either worker lists what is there: 200 steps, some pauses."""
    dice, model, foreign = random.Random(seed), Model(), Foreign(stores[0].layout)
    for _ in range(STEPS):
        name, of = dice.choice(REPOSITORIES), dice.choice(SAMPLES)
        store, is_foreign = dice.choice(stores), dice.random() < 0.5
        if of.digest in model.manifests[name] and dice.random() < 0.6:
            gone = model.delete(name, of)
            if is_foreign:
                foreign.delete(name, of, *gone)
                users = [each for each in REPOSITORIES if of.digest in model.manifests[each]]
                if not users and dice.random() < 0.3:
                    foreign.collect(of)
            else:
                assert sorted(await store.delete_manifest(name, of.digest)) == sorted(gone)
        else:
            tags = dice.sample(TAGS, dice.randrange(3))
            model.push(name, of, tags)
            if is_foreign:
                foreign.push(name, of, *tags)
            else:
                await commit(store, name, of, *tags)
        if dice.random() < 0.05:
            await asyncio.sleep(0.15)
        for reader in stores if dice.random() < 0.5 else [dice.choice(stores)]:
            await model.check(reader)


async def test_all_at_once(stores: list[FilesystemStore]) -> None:
    """Lists that are read while all three change everything are right when they stop, and never fail before."""
    foreign, dice = Foreign(stores[0].layout), random.Random(5)
    end = time.monotonic() + 3

    def rival() -> int:
        steps = 0
        while time.monotonic() < end:
            of, tag = dice.choice(SAMPLES), dice.choice(TAGS)
            with suppress(OSError):
                # Ours may take away what it is about to write to, or to remove.
                foreign.push(REPOSITORIES[0], of, tag)
                foreign.delete(REPOSITORIES[0], of, tag)
            steps += 1
        return steps

    async def work(store: FilesystemStore, number: int) -> None:
        own = random.Random(number)
        while time.monotonic() < end:
            of = own.choice(SAMPLES)
            await commit(store, REPOSITORIES[0], of, own.choice(TAGS))
            await store.list_referrers(REPOSITORIES[0], SUBJECT)
            await store.list_repositories("", 10)
            await tags_of(store, REPOSITORIES[0])
            with suppress(NotFound):
                await store.delete_manifest(REPOSITORIES[0], of.digest)

    with ThreadPoolExecutor(1) as pool:
        steps = asyncio.get_running_loop().run_in_executor(pool, rival)
        await asyncio.gather(*(work(store, number) for number, store in enumerate(stores * 2)))
        assert await steps > 10
    model = Model()
    for of in SAMPLES:
        await commit(stores[0], REPOSITORIES[0], of)
        model.push(REPOSITORIES[0], of, [])
    for tag in TAGS:
        await commit(stores[1], REPOSITORIES[0], SAMPLES[0], tag)
        model.push(REPOSITORIES[0], SAMPLES[0], [tag])
    for store in stores:
        await model.check(store)
