"""What fills the trash and what takes out of it, each to be run by a process that is killed in its midst."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from cargohold.registry.restoring import Unrestorable
from cargohold.registry.trash import Trash
from cargohold.storage.filesystem import FilesystemStore
from cargohold.storage.protocols import NotFound
from cargohold.storage.trash import Cause, Why
from cargohold.types.names import Tag
from tests.collection.images import image, index, push_image
from tests.crash.calls import die_at
from tests.storage.contract.base import LATEST, ONE, commit, document, tags_of, target

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cargohold.types.names import Reference

CHILD = image(b"layer")
INDEX = index(CHILD)
SIGNATURE = image(b"layer", subject=INDEX, text="signature")
TAGS = LATEST, Tag("also")
DAY = 86400.0


async def fill(store: FilesystemStore) -> None:
    """An index with two tags, its child with one, and what refers to the index."""
    await push_image(store, ONE, b"layer", Tag("child"))
    await commit(store, ONE, INDEX, *TAGS)
    await commit(store, ONE, SIGNATURE)


async def delete_all(store: FilesystemStore) -> None:
    """One after the other, until nothing is left."""
    await delete_tag(store)
    await delete_index(store)
    for each, why in ((SIGNATURE, Why.SUBJECT_DELETED), (CHILD, Why.UNTAGGED)):
        with suppress(NotFound):
            await store.delete_manifest(ONE, each.digest, Cause(why))


async def delete_tag(store: FilesystemStore) -> None:
    with suppress(NotFound):
        await store.delete_tag(ONE, LATEST)


async def delete_index(store: FilesystemStore) -> None:
    with suppress(NotFound):
        await store.delete_manifest(ONE, INDEX.digest)


async def restore(store: FilesystemStore) -> None:
    """Everything that is in the trash, one deletion after the other, until nothing is left there."""
    trash = Trash(store, keep=DAY)
    for deleted in await trash.deletions(bool, _refuse):
        references: list[Reference] = [*deleted.record.tags, deleted.record.digest]
        for reference in references:
            with suppress(Unrestorable):
                done = await trash.restore(ONE, reference)
                assert (done.taken, done.problems) == ([], [])
    assert await trash.deletions(bool, _refuse) == []


async def empty(store: FilesystemStore) -> None:
    trash = Trash(store, keep=DAY)
    await trash.empty(bool)
    assert await trash.deletions(bool, _refuse) == []


OPERATIONS: dict[str, Callable[[FilesystemStore], Awaitable[None]]] = {
    each.__name__: each for each in (delete_tag, delete_index, delete_all, restore, empty)
}


async def look(store: FilesystemStore) -> dict[str, object]:
    """All that clients can see."""
    seen: dict[str, object] = {}
    for each in (CHILD, INDEX, SIGNATURE):
        seen[f"manifest {each.digest}"] = await document(store, ONE, each.digest)
    for tag in await tags_of(store, ONE) or []:
        seen[f"tag {tag}"] = await target(store, ONE, Tag(tag))
    seen["referrers"] = await store.list_referrers(ONE, INDEX.digest)
    seen["catalog"] = await store.list_repositories("", 10)
    return seen


async def prepare(root: str, *, is_deleted: bool) -> None:
    """The images, or a trash with all of them."""
    store = FilesystemStore(root)
    store.prepare()
    await fill(store)
    if is_deleted:
        await delete_all(store)
    store.close()


async def run(root: str, name: str) -> dict[str, object]:
    """Run one operation to its end; what is seen then."""
    store = FilesystemStore(root)
    try:
        await OPERATIONS[name](store)
        return await look(store)
    finally:
        store.close()


def run_killed(root: str, name: str, step: int) -> None:
    """Run one operation in this process, which dies just before its n-th call that changes the tree."""
    die_at(step)
    asyncio.run(run(root, name))


def _refuse(path: str, reason: str) -> None:
    raise AssertionError(f"{path}: {reason}")
