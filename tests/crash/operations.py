"""The writing operations of the file system store, each to be run by a process that is killed in its midst."""

from __future__ import annotations

import asyncio
import math
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from cargohold.registry.restoring import Unrestorable
from cargohold.registry.trash import Trash
from cargohold.storage.filesystem import FilesystemStore
from cargohold.storage.filesystem.tree import exists
from cargohold.storage.protocols import NotFound
from cargohold.types.digest import Digest
from cargohold.types.names import Tag, UploadId
from tests.crash.calls import die_at
from tests.storage.collecting import HOUR, collect, everywhere, make_old
from tests.storage.contract.base import (
    LATEST,
    ONE,
    OTHER,
    blob,
    commit,
    document,
    push,
    sample,
    size,
    started,
    tags_of,
    target,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

CONTENT, KNOWN = b"content" * 1000, b"known"
SUBJECT, FIRST, DELETED = sample("subject"), sample("first"), sample("deleted")
SECOND = sample("second", subject=SUBJECT.digest)
TAGS = LATEST, Tag("also"), Tag("new"), Tag("deleted")


async def prepare(root: str) -> None:
    """Two blobs, two manifests with two tags, one that was deleted with a tag, and an upload session; all is old."""
    store = FilesystemStore(root)
    store.prepare()
    await push(store, ONE, KNOWN)
    await commit(store, ONE, SUBJECT)
    await commit(store, ONE, FIRST, *TAGS[:2])
    await commit(store, ONE, DELETED, TAGS[3])
    await store.delete_manifest(ONE, DELETED.digest)
    await started(store, ONE, CONTENT)
    make_old(store)
    store.close()


async def end_upload(store: FilesystemStore) -> None:
    for name in os.listdir(store.layout.uploads(ONE)):
        with suppress(NotFound):
            await store.commit_upload(ONE, UploadId(name), Digest.of(CONTENT), len(CONTENT))
            return
    await push(store, ONE, CONTENT)


async def cancel_upload(store: FilesystemStore) -> None:
    for name in os.listdir(store.layout.uploads(ONE)):
        with suppress(NotFound):
            await store.cancel_upload(ONE, UploadId(name))


async def push_known(store: FilesystemStore) -> None:
    await push(store, OTHER, KNOWN)


async def mount(store: FilesystemStore) -> None:
    await store.mount_blob(Digest.of(KNOWN), ONE, OTHER)


async def delete_blob(store: FilesystemStore) -> None:
    with suppress(NotFound):
        await store.delete_blob(ONE, Digest.of(KNOWN))


async def push_manifest(store: FilesystemStore) -> None:
    await commit(store, ONE, SECOND, TAGS[2])


async def push_together(store: FilesystemStore) -> None:
    """The first goes alone, and the others with one another."""
    await asyncio.gather(
        commit(store, ONE, SUBJECT), commit(store, ONE, SECOND, TAGS[2]), commit(store, ONE, DELETED)
    )


async def push_first_manifest(store: FilesystemStore) -> None:
    await commit(store, OTHER, SECOND, LATEST)


async def move_tags(store: FilesystemStore) -> None:
    await commit(store, ONE, SECOND, *TAGS[:3])


async def delete_manifest(store: FilesystemStore) -> None:
    with suppress(NotFound):
        await store.delete_manifest(ONE, FIRST.digest)


async def delete_tag(store: FilesystemStore) -> None:
    with suppress(NotFound):
        await store.delete_tag(ONE, LATEST)


async def restore(store: FilesystemStore) -> None:
    with suppress(Unrestorable):
        await Trash(store, keep=math.inf, allow_sparse=True).restore(ONE, DELETED.digest)


async def collect_garbage(store: FilesystemStore) -> None:
    collect(store, age=HOUR, untagged=everywhere)


OPERATIONS: dict[str, Callable[[FilesystemStore], Awaitable[None]]] = {
    each.__name__: each
    for each in (
        end_upload,
        cancel_upload,
        push_known,
        mount,
        delete_blob,
        push_manifest,
        push_together,
        push_first_manifest,
        move_tags,
        delete_manifest,
        delete_tag,
        restore,
        collect_garbage,
    )
}


async def look(root: str) -> dict[str, object]:
    """All that can be seen of the tree."""
    store = FilesystemStore(root)
    seen: dict[str, object] = {}
    for name in (ONE, OTHER):
        for content in (CONTENT, KNOWN):
            seen[f"{name} blob {content[:8]!r}"] = await blob(store, name, Digest.of(content))
        for each in (SUBJECT, FIRST, SECOND, DELETED):
            seen[f"{name} manifest {each.digest}"] = await document(store, name, each.digest)
        for tag in TAGS:
            seen[f"{name} tag {tag}"] = await target(store, name, tag)
            seen[f"{name} lists {tag}"] = tag in (await tags_of(store, name) or [])
        seen[f"{name} referrers"] = str(await store.list_referrers(name, SUBJECT.digest))
    for each in (SUBJECT, FIRST, DELETED):
        records = [record for record in (await store.read_trash(ONE)).records if record.digest == each.digest]
        seen[f"deleted {each.digest}"] = len(records) > 0
        seen[f"deleted tags of {each.digest}"] = {tag for record in records for tag in record.tags}
    for content in (CONTENT, KNOWN):
        seen[f"content {content[:8]!r}"] = exists(store.layout.data(Digest.of(content)))
    seen["catalog"] = str(await store.list_repositories("", 10))
    sessions = os.listdir(store.layout.uploads(ONE))
    seen["sessions"] = str([held for each in sessions if (held := await size(store, ONE, UploadId(each)))])
    store.close()
    return seen


async def run(root: str, name: str) -> None:
    """Run one operation to its end."""
    store = FilesystemStore(root)
    await OPERATIONS[name](store)
    store.close()


def run_killed(root: str, name: str, step: int) -> None:
    """Run one operation in this process, which dies just before its n-th call that changes the tree."""
    die_at(step)
    asyncio.run(run(root, name))
