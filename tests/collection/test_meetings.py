"""Whatever a push was told while a collection goes on holds, at whichever moment the two of them meet."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pytest

from cargohold.storage.protocols import NotFound
from cargohold.types.digest import Algorithm, Digest
from cargohold.types.names import RepositoryName, Tag
from tests.collection.images import CONFIG, image, index, is_taken, is_whole, open_store, push_image
from tests.collection.meeting import Meeting, moments
from tests.e2e.dangling import faults
from tests.e2e.medium import folder_in_memory
from tests.storage.collecting import collect, everywhere, make_old
from tests.storage.contract.base import LATEST, ONE, OTHER, document, push, target

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from pathlib import Path

    from cargohold.storage.filesystem import FilesystemStore
    from tests.storage.contract.base import Sample

LAYER, KEPT_LAYER = b"layer", b"kept"
SHA512 = Algorithm.SHA512
KEPT = Tag("kept")
PUSHED = image(LAYER)
REFERRER = image(KEPT_LAYER, subject=PUSHED)
LEAST_MOMENTS = 2


@dataclass(frozen=True)
class Scene:
    """What has long been in the tree, what is asked for (whether it is there, or was done), and what relies on that.

    The manifest that relies on it goes to `LATEST` when it was told that it can; before that what `stays` must be
    whole. The order in which repositories were made is that in which they are looked at, or the reverse.
    """

    prepare: Callable[[FilesystemStore], Coroutine[None, None, object]]
    ask: Callable[[FilesystemStore], Coroutine[None, None, bool]]
    relies: Sample = PUSHED
    made_first: RepositoryName = ONE
    stays: Sample | None = None


def pushes(of: Sample) -> Callable[[FilesystemStore], Coroutine[None, None, bool]]:
    return lambda store: is_taken(store, ONE, of, LATEST)


def held_by(
    algorithm: Algorithm = Algorithm.SHA256,
) -> Callable[[FilesystemStore], Coroutine[None, None, object]]:
    return lambda store: push(store, ONE, LAYER, algorithm)


async def checks(store: FilesystemStore, algorithm: Algorithm = Algorithm.SHA256) -> bool:
    try:
        await store.lease_blob(ONE, Digest.of(LAYER, algorithm))
    except NotFound:
        return False
    return True


async def checks_manifest(store: FilesystemStore, of: Sample = PUSHED) -> bool:
    try:
        await store.lease_manifest(ONE, of.digest)
    except NotFound:
        return False
    return True


async def checks_index(store: FilesystemStore) -> bool:
    return await checks_manifest(store, index(PUSHED))


async def mounts(store: FilesystemStore) -> bool:
    return await mounts_from(store, OTHER)


async def mounts_from(store: FilesystemStore, source: RepositoryName | None) -> bool:
    try:
        await store.mount_blob(Digest.of(LAYER), source, ONE)
    except NotFound:
        return False
    return True


async def uploads(store: FilesystemStore, algorithm: Algorithm = Algorithm.SHA256) -> bool:
    await push(store, ONE, LAYER, algorithm)
    return True


async def other_holds(store: FilesystemStore) -> None:
    await push(store, OTHER, LAYER)


async def other_uses(store: FilesystemStore) -> None:
    await push_image(store, OTHER, LAYER, KEPT)


async def nobody_links(store: FilesystemStore) -> None:
    await push(store, OTHER, LAYER)
    await store.delete_blob(OTHER, Digest.of(LAYER))


async def untagged(store: FilesystemStore) -> None:
    await push_image(store, ONE, LAYER)


async def untagged_index(store: FilesystemStore) -> None:
    await push_image(store, ONE, LAYER)
    assert await is_taken(store, ONE, index(PUSHED))


async def untagged_subject(store: FilesystemStore) -> None:
    await push_image(store, ONE, LAYER)
    assert await is_taken(store, ONE, REFERRER)


async def referrer_alone(store: FilesystemStore) -> None:
    """Its subject is not there yet, which is allowed."""
    await push(store, ONE, LAYER)
    assert await is_taken(store, ONE, REFERRER)


async def tags_subject(store: FilesystemStore) -> bool:
    """Whether that was done while the referrer was there: it may have gone before."""
    is_done = await is_taken(store, ONE, PUSHED, LATEST)
    return is_done and await document(store, ONE, REFERRER.digest) is not None


async def moved(store: FilesystemStore) -> None:
    await push_image(store, ONE, LAYER)
    await push_image(store, ONE, b"before", LATEST)


SCENES = {
    "a blob is asked for": Scene(held_by(), checks),
    "a blob is asked for by SHA-512": Scene(
        held_by(SHA512), lambda store: checks(store, SHA512), image(LAYER, SHA512)
    ),
    "a blob is mounted that its source does not use": Scene(other_holds, mounts),
    "a blob is mounted that its source uses": Scene(other_uses, mounts),
    "a blob is mounted from a repository that was made earlier": Scene(other_holds, mounts, made_first=OTHER),
    "a blob is mounted from anywhere": Scene(other_holds, lambda store: mounts_from(store, None)),
    "a blob is uploaded that is linked": Scene(held_by(), uploads),
    "a blob is uploaded that is linked elsewhere": Scene(other_holds, uploads),
    "a blob is uploaded that nobody links": Scene(nobody_links, uploads),
    "a blob is uploaded by SHA-512": Scene(
        held_by(SHA512), lambda store: uploads(store, SHA512), image(LAYER, SHA512)
    ),
    "a manifest is asked for": Scene(untagged, checks_manifest, index(PUSHED), stays=PUSHED),
    "an index is asked for": Scene(untagged_index, checks_index, index(PUSHED), stays=index(PUSHED)),
    "a manifest is pushed": Scene(held_by(), pushes(PUSHED)),
    "a manifest is tagged": Scene(untagged, pushes(PUSHED)),
    "a tag is moved": Scene(moved, pushes(PUSHED)),
    "an index is pushed": Scene(untagged, pushes(index(PUSHED)), index(PUSHED)),
    "a manifest is tagged that has a referrer": Scene(untagged_subject, tags_subject, stays=REFERRER),
    "a manifest is pushed that has a referrer": Scene(referrer_alone, tags_subject, stays=REFERRER),
    "an index of an index is pushed": Scene(
        untagged_index, pushes(index(index(PUSHED))), index(index(PUSHED))
    ),
    "a referrer is pushed": Scene(untagged, pushes(REFERRER), REFERRER),
}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with folder_in_memory(otherwise=tmp_path) as found:
        yield found


async def make_tree(root: Path, scene: Scene) -> None:
    """Beside what the scene is about there is an image that stays."""
    store = open_store(root)
    store.prepare()
    await push(store, scene.made_first, CONFIG)
    await push_image(store, ONE, KEPT_LAYER, KEPT)
    await scene.prepare(store)
    make_old(store)
    store.close()


async def require(root: Path, scene: Scene, *, told: bool) -> None:
    """What was told holds, what relies on that can be pushed, and stays when nothing else protects it any more."""
    store = open_store(root)
    for of in (scene.relies, PUSHED, image(KEPT_LAYER)):
        if await target(store, ONE, LATEST) == of.digest or of == image(KEPT_LAYER):
            assert await is_whole(store, ONE, of)
    if told:
        assert scene.stays is None or await is_whole(store, ONE, scene.stays)
        assert await is_taken(store, ONE, scene.relies, LATEST)
    make_old(store)
    collect(store, untagged=everywhere)
    assert faults(root) == []
    assert await is_whole(store, ONE, image(KEPT_LAYER))
    if told:
        assert await target(store, ONE, LATEST) == scene.relies.digest
        assert await is_whole(store, ONE, scene.relies)
        assert scene.stays is None or await is_whole(store, ONE, scene.stays)
    store.close()


@pytest.mark.parametrize("name", SCENES)
def test_asked_during_a_collection(folder: Path, name: str) -> None:
    """Something is asked for, or done, at any moment of a collection: what was told then is so after it."""
    scene, tree, root = SCENES[name], folder / "tree", folder / "root"
    asyncio.run(make_tree(tree, scene))
    for number in moments(tree, root):
        told = asked_at(root, scene, number)
        if told is None:
            break
        asyncio.run(require(root, scene, told=told))
    assert number > LEAST_MOMENTS


def asked_at(root: Path, scene: Scene, number: int) -> bool | None:
    """What is told at that moment of a collection; None where it has no more moments."""
    collecting, asking = open_store(root), open_store(root)
    told: list[bool] = []
    meeting = Meeting(collecting, number, lambda: told.append(asyncio.run(scene.ask(asking))))
    with meeting.watched():
        collect(collecting, untagged=everywhere)
    collecting.close()
    asking.close()
    return told[0] if told else None


@pytest.mark.parametrize("name", SCENES)
def test_collected_while_it_is_asked(folder: Path, name: str) -> None:
    """A whole collection comes at any moment of a request: what that tells afterwards is so."""
    scene, tree, root = SCENES[name], folder / "tree", folder / "root"
    asyncio.run(make_tree(tree, scene))
    for number in moments(tree, root):
        asking, collecting = open_store(root), open_store(root)
        meeting = Meeting(asking, number, partial(collect, collecting, untagged=everywhere))
        with meeting.watched():
            told = asyncio.run(scene.ask(asking))
        asking.close()
        collecting.close()
        asyncio.run(require(root, scene, told=told))
        if not meeting.took_place:
            break
    assert number > LEAST_MOMENTS
