"""What is restored while others delete, push, empty and collect is whole, at whichever moment the two of them meet."""

from __future__ import annotations

import asyncio
import math
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import pytest

from cargohold.registry.restoring import Unrestorable
from cargohold.registry.trash import Trash
from cargohold.storage.filesystem import FilesystemStore
from cargohold.storage.filesystem.leases import Terms
from cargohold.storage.protocols import NotFound
from cargohold.types.names import Tag
from tests.collection.images import image, index, is_taken, is_whole, push_image
from tests.collection.meeting import Meeting, moments
from tests.e2e.dangling import faults
from tests.e2e.medium import folder_in_memory
from tests.storage.collecting import HOUR, collect, everywhere, make_old
from tests.storage.contract.base import LATEST, ONE, target

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from pathlib import Path

    from cargohold.types.digest import Digest

LAYER = b"layer"
IMAGE = image(LAYER)
INDEX = index(IMAGE)
ALSO, OTHER = Tag("also"), Tag("other")
KEEPING, OVER = Terms(grace=HOUR, keep=math.inf), Terms(grace=0.001, keep=0.0)
LEAST_MOMENTS = 5


class Seen(NamedTuple):
    """Whether the index is there, whole, and what its tags point to."""

    is_whole: bool
    latest: Digest | None
    also: Digest | None


RESTORED = Seen(is_whole=True, latest=INDEX.digest, also=INDEX.digest)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with folder_in_memory(otherwise=tmp_path) as found:
        yield found


def opened(root: Path, terms: Terms = KEEPING) -> closing[FilesystemStore]:
    return closing(FilesystemStore(str(root), terms))


async def prepare(store: FilesystemStore) -> None:
    """An index with two tags and its image are in the trash, and another image is beside them."""
    store.prepare()
    await push_image(store, ONE, LAYER)
    assert await is_taken(store, ONE, INDEX, LATEST, ALSO)
    await store.delete_manifest(ONE, INDEX.digest)
    await store.delete_manifest(ONE, IMAGE.digest)
    await push_image(store, ONE, b"other", OTHER)


async def restore(store: FilesystemStore) -> bool:
    """Restore the index; False where it cannot be."""
    try:
        await Trash(store, keep=math.inf).restore(ONE, LATEST)
    except Unrestorable:
        return False
    return True


def elsewhere(
    step: Callable[[FilesystemStore], Coroutine[None, None, object]], store: FilesystemStore
) -> None:
    """Take a step in a thread of its own, and wait for it: the loop of this one may be in the midst of something."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, step(store)).result(60)


def meetings(
    folder: Path, work: Callable[[FilesystemStore], object], terms: Terms = KEEPING
) -> Iterator[tuple[FilesystemStore, bool]]:
    """The tree after each moment at which a restoration met the work of another process; whether it succeeded."""
    with opened(folder / "tree") as store:
        asyncio.run(prepare(store))
        make_old(store)
    for number in moments(folder / "tree", folder / "root"):
        with opened(folder / "root") as store, opened(folder / "root", terms) as other:
            meeting = Meeting(store, number, partial(work, other))
            with meeting.watched():
                is_restored = asyncio.run(restore(store))
            if not meeting.took_place:
                assert number > LEAST_MOMENTS
                return
            assert faults(folder / "root") == [], number
            yield store, is_restored


async def look(store: FilesystemStore) -> Seen:
    return Seen(
        await is_whole(store, ONE, INDEX), await target(store, ONE, LATEST), await target(store, ONE, ALSO)
    )


def test_collection(folder: Path) -> None:
    """A collection takes nothing of what can be restored, however old it is."""
    for store, is_restored in meetings(folder, partial(collect, untagged=everywhere)):
        assert is_restored
        assert asyncio.run(look(store)) == RESTORED


def test_collection_of_the_trash(folder: Path) -> None:
    """Where the trash is over, a restoration gives all or says that it cannot; what it gives, stays."""
    outcomes = set()
    for store, is_restored in meetings(folder, partial(collect, untagged=everywhere), OVER):
        outcomes.add(is_restored)
        for _ in range(2):
            seen = asyncio.run(look(store))
            assert seen == RESTORED if is_restored else (seen.latest, seen.also) == (None, None)
            assert asyncio.run(is_whole(store, ONE, image(b"other")))
            make_old(store)
            collect(store, untagged=everywhere)
            assert faults(folder / "root") == []
    assert outcomes == {False, True}


def test_deletion(folder: Path) -> None:
    """What is deleted while it is restored is there or in the trash, and can be restored again."""

    async def delete(store: FilesystemStore) -> None:
        with suppress(NotFound):
            await store.delete_manifest(ONE, INDEX.digest)

    for store, is_restored in meetings(folder, partial(elsewhere, delete)):
        assert is_restored
        if asyncio.run(look(store)) != RESTORED:
            assert asyncio.run(restore(store))
        assert asyncio.run(look(store)) == RESTORED


def test_push_to_a_tag(folder: Path) -> None:
    """A tag that is pushed while it is restored is what was pushed; all else is restored."""

    async def push(store: FilesystemStore) -> None:
        assert await is_taken(store, ONE, image(b"other"), LATEST)

    for store, is_restored in meetings(folder, partial(elsewhere, push)):
        assert is_restored
        assert asyncio.run(look(store)) == Seen(
            is_whole=True, latest=image(b"other").digest, also=INDEX.digest
        )


def test_restored_by_two(folder: Path) -> None:
    """Of two who restore the same each finds it restored, or gone from the trash and there."""
    for store, _ in meetings(folder, partial(elsewhere, restore)):
        assert asyncio.run(look(store)) == RESTORED
        assert asyncio.run(Trash(store, keep=math.inf).deletions(bool, _refuse)) == []


def test_emptied(folder: Path) -> None:
    """What is let go while it is restored is restored whole, or not at all."""

    async def empty(store: FilesystemStore) -> None:
        await Trash(store, keep=math.inf).empty(bool)

    for store, is_restored in meetings(folder, partial(elsewhere, empty)):
        assert asyncio.run(look(store)) == (
            RESTORED if is_restored else Seen(is_whole=False, latest=None, also=None)
        )


def _refuse(path: str, reason: str) -> None:
    raise AssertionError(f"{path}: {reason}")
