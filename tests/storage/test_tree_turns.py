"""Pushes and deletions at once and in their turn, and what a process remembers that another one makes untrue."""

from __future__ import annotations

import asyncio
import os
import shutil
from contextlib import closing
from threading import Event
from typing import TYPE_CHECKING

import pytest

from cargohold.storage.filesystem import FilesystemStore
from cargohold.storage.protocols import NotFound
from cargohold.types.names import Tag

from .contract.base import LATEST, ONE, OTHER, commit, document, sample, tags_of, target

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("loop")

FIRST, SECOND, THIRD = sample("first"), sample("second"), sample("third")
HELD_SECONDS = 0.2
"""Longer than a thread waits for a lock."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FilesystemStore]:
    with closing(FilesystemStore(str(tmp_path / "data"))) as made:
        made.prepare()
        yield made


@pytest.fixture
def other(store: FilesystemStore) -> Iterator[FilesystemStore]:
    """As another process has it."""
    with closing(FilesystemStore(store.layout.root)) as made:
        yield made


async def held(other: FilesystemStore) -> asyncio.Future[None]:
    """The repository's lock is held, by another, until the future is done."""
    loop, has_it = asyncio.get_running_loop(), Event()

    def hold() -> None:
        with other.locks.hold(ONE, seconds=10):
            has_it.set()
            Event().wait(HELD_SECONDS)

    holding = loop.run_in_executor(None, hold)
    assert await loop.run_in_executor(None, has_it.wait, 10)
    return holding


async def test_push_waits_for_the_lock(store: FilesystemStore, other: FilesystemStore) -> None:
    """A push that does not get the lock at once is done when it is free, and has not stored anything before."""
    await commit(store, ONE, FIRST, LATEST)
    holding = await held(other)
    pushes = [
        asyncio.ensure_future(commit(store, ONE, each, Tag(f"t{number}")))
        for number, each in enumerate((SECOND, THIRD))
    ]
    done, _ = await asyncio.wait(pushes, timeout=HELD_SECONDS / 4)
    if not holding.done():
        assert done == set()
        assert await tags_of(store, ONE) == [LATEST]
    await asyncio.gather(holding, *pushes)
    assert await tags_of(store, ONE) == [LATEST, "t0", "t1"]
    assert os.listdir(store.layout.new) == []


async def test_delete_waits_for_the_lock(store: FilesystemStore, other: FilesystemStore) -> None:
    """So does a deletion, which is written down once."""
    await commit(store, ONE, FIRST, LATEST)
    holding = await held(other)
    assert await store.delete_manifest(ONE, FIRST.digest) == [LATEST]
    await holding
    assert [record.digest for record in (await store.read_trash(ONE)).records] == [FIRST.digest]
    assert await document(store, ONE, FIRST.digest) is None


async def test_many_at_once(store: FilesystemStore, other: FilesystemStore) -> None:
    """Pushes of two processes to one repository, and to others, are all stored."""
    samples = [sample(f"n{number}") for number in range(40)]
    await asyncio.gather(
        *(
            commit((store, other)[number % 2], (ONE, OTHER)[number % 3 % 2], each, Tag(f"t{number}"))
            for number, each in enumerate(samples)
        )
    )
    for number, each in enumerate(samples):
        assert await target(store, (ONE, OTHER)[number % 3 % 2], Tag(f"t{number}")) == each.digest
    assert os.listdir(store.layout.new) == []


async def test_last_manifest_goes_elsewhere(store: FilesystemStore, other: FilesystemStore) -> None:
    """A repository is there as long as it holds a manifest, whichever process stored it last and deleted it."""
    await commit(store, ONE, FIRST, LATEST)
    assert await store.list_repositories("", 10) == [ONE]
    await other.delete_manifest(ONE, FIRST.digest)
    with pytest.raises(NotFound):
        await store.list_tags(ONE, "", 10)
    assert await store.list_repositories("", 10) == []
    await commit(other, ONE, SECOND)
    assert await store.list_tags(ONE, "", 10) == []
    assert await store.list_repositories("", 10) == [ONE]
    shutil.rmtree(store.layout.revisions(ONE))
    assert await store.list_repositories("", 10) == []


async def test_what_was_durable_is_made_anew(store: FilesystemStore) -> None:
    """A manifest that another removed, with the folders that were known to be durable, can be pushed again."""
    await commit(store, ONE, FIRST, LATEST)
    for _ in range(2):
        await commit(store, ONE, FIRST, LATEST)
        shutil.rmtree(store.layout.repository(ONE))
        await commit(store, ONE, FIRST, LATEST)
        assert await document(store, ONE, FIRST.digest) == FIRST.manifest.content
        assert await target(store, ONE, LATEST) == FIRST.digest
