"""Pushes into a repository that come at the same time: stored together, and each for itself."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from cargohold.storage.filesystem import FilesystemStore, tree
from cargohold.storage.filesystem.leases import Terms
from cargohold.storage.filesystem.tree import read_link
from cargohold.storage.locks import Busy, StripedLocks
from cargohold.storage.protocols import Full, Incomplete, OverQuota, TagFixed, Unavailable
from cargohold.types.names import Tag
from cargohold.types.quotas import Quota, Quotas
from tests.collection.images import CONFIG, image, index
from tests.crash.calls import surrounded

from .contract.base import LATEST, ONE, OTHER, Sample, document, push, sample, tags_of, target
from .recorder import nothing_is_left, synced_folders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("loop")

SAMPLES = [sample(text) for text in ("first", "second", "third", "fourth", "fifth")]
TAGS = [Tag(f"t{number}") for number in range(len(SAMPLES))]
LAYER = b"layer"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FilesystemStore]:
    """A store of one process."""
    with closing(FilesystemStore(str(tmp_path / "data"))) as made:
        made.prepare()
        yield made


def always(_: Tag) -> bool:
    return True


async def commit(
    store: FilesystemStore,
    pushed: list[tuple[Sample, Tag]],
    *,
    complete: bool = False,
    fixed: Callable[[Tag], bool] | None = None,
) -> list[type[BaseException] | None]:
    """Push them all at the same time; what came of each. The first goes alone, and the others together."""
    pushes = [
        store.commit_manifest(ONE, of.digest, of.manifest, [tag], complete=complete, fixed=fixed)
        for of, tag in pushed
    ]
    async with asyncio.timeout(20):
        results = await asyncio.gather(*pushes, return_exceptions=True)
    return [None if result is None else type(result) for result in results]


async def stored(store: FilesystemStore) -> list[bool]:
    """Which of the samples are there, with their tags."""
    return [
        await document(store, ONE, of.digest) == of.manifest.content
        and await target(store, ONE, tag) == of.digest
        for of, tag in zip(SAMPLES, TAGS, strict=True)
    ]


async def test_synced_together(store: FilesystemStore) -> None:
    """A folder that several manifests are put into is synced once for them; all are there, and listed."""
    with synced_folders(store.layout.repository(ONE)) as synced:
        assert await commit(store, [*zip(SAMPLES, TAGS, strict=True)]) == [None] * 5
    assert synced.count("_manifests/revisions/sha256") == 2
    assert synced.count("_manifests/tags") == 2
    assert await stored(store) == [True] * 5
    assert await tags_of(store, ONE) == TAGS
    assert nothing_is_left(store)


async def test_one_tag(store: FilesystemStore) -> None:
    """Of several who move one tag the last wins; the tag was with each of them, and all are stored."""
    assert await commit(store, [(of, LATEST) for of in SAMPLES]) == [None] * 5
    assert await target(store, ONE, LATEST) == SAMPLES[-1].digest
    for of in SAMPLES:
        assert await document(store, ONE, of.digest) == of.manifest.content
        assert read_link(f"{store.layout.tag_index(ONE, LATEST, of.digest)}/link") == of.digest


async def test_one_manifest(store: FilesystemStore) -> None:
    """One that several push at once is written once for those that go together."""
    made = []

    def around(name: str, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Any:
        done = call(*arguments, **named)
        if name == "rename":
            made.append(os.path.basename(arguments[1]))
        return done

    with surrounded(around):
        assert (
            await commit(store, [(SAMPLES[0], TAGS[0]), *((SAMPLES[1], tag) for tag in TAGS)]) == [None] * 6
        )
    assert made.count("data") == 2
    assert [await target(store, ONE, tag) for tag in TAGS] == [SAMPLES[1].digest] * 5


async def test_one_that_lacks_something(store: FilesystemStore) -> None:
    """Who names what is not there is told so; the others are stored, whichever comes first."""
    await push(store, ONE, CONFIG)
    await push(store, ONE, LAYER)
    whole = [image(LAYER, text=text) for text in ("first", "second", "third")]
    pushed = [*whole[:2], image(b"missing"), index(image(b"missing")), whole[2]]
    results = await commit(store, [*zip(pushed, TAGS, strict=True)], complete=True)
    assert results == [None, None, Incomplete, Incomplete, None]
    assert await tags_of(store, ONE) == [TAGS[0], TAGS[1], TAGS[4]]
    assert await document(store, ONE, pushed[2].digest) is None
    assert nothing_is_left(store)


async def test_an_index_and_its_child(store: FilesystemStore) -> None:
    """An index that comes after its child, of those that go together, has it; one that comes before it lacks it."""
    await push(store, ONE, CONFIG)
    await push(store, ONE, LAYER)
    first, child, late = (image(LAYER, text=text) for text in ("first", "child", "late"))
    pushed = [first, index(first), child, index(first, child), index(late), late]
    results = await commit(store, [(of, LATEST) for of in pushed], complete=True)
    assert results == [None, None, None, None, Incomplete, None]
    assert await commit(store, [(pushed[4], LATEST)] * 2, complete=True) == [None, None]


async def test_one_whose_layer_has_gone(store: FilesystemStore) -> None:
    """What was there a moment ago, and is found missing under the lock alone, is told to whom it concerns."""
    for content in (CONFIG, LAYER, b"another"):
        await push(store, ONE, content)
    await asyncio.sleep(0.2)
    for text in ("first", "second"):
        known = [(image(layer, text=text), LATEST) for layer in (LAYER, b"another")]
        assert await commit(store, known, complete=True) == [None, None]
    shutil.rmtree(store.layout.layer(ONE, image(LAYER).manifest.blobs[-1]))
    layers = (b"another", b"another", LAYER, b"another", LAYER)
    pushed = [(image(layer, text=tag), tag) for layer, tag in zip(layers, TAGS, strict=True)]
    results = await commit(store, pushed, complete=True)
    assert results == [None, None, Incomplete, None, Incomplete]
    assert await tags_of(store, ONE) == [LATEST, TAGS[0], TAGS[1], TAGS[3]]


async def test_fixed_tag(store: FilesystemStore) -> None:
    """Of several who set a tag that must not move the first has it; the others are told so, and store nothing."""
    pushed = [*zip(SAMPLES[:3], (TAGS[0], LATEST, LATEST), strict=True), (SAMPLES[3], TAGS[3])]
    assert await commit(store, pushed, fixed=always) == [None, None, TagFixed, None]
    assert await target(store, ONE, LATEST) == SAMPLES[1].digest
    assert await document(store, ONE, SAMPLES[2].digest) is None
    assert await commit(store, [(SAMPLES[1], LATEST)] * 3, fixed=always) == [None] * 3


@pytest.mark.parametrize("call", ["write", "make_folder", "rename"])
async def test_one_that_fails(store: FilesystemStore, call: str) -> None:
    """What is in the way of one is in the way of no other, at whatever step that is found."""
    marks = SAMPLES[2].digest.hex, SAMPLES[2].manifest.content

    def around(name: str, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Any:
        words = [bytes(each) if isinstance(each, memoryview) else each for each in arguments]
        if name == call and any(mark in word for mark in marks for word in words if type(word) is type(mark)):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return function(*arguments, **named)

    with surrounded(around):
        results = await commit(store, [*zip(SAMPLES, TAGS, strict=True)])
    assert results == [None, None, Full, None, None]
    assert await stored(store) == [True, True, False, True, True]
    assert nothing_is_left(store)


async def test_a_folder_that_cannot_be_synced(store: FilesystemStore) -> None:
    """All who go together are told so, and it is not synced again: a second sync that succeeds proves nothing."""
    failed = []

    def around(name: str, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Any:
        if name == "sync_folder" and SAMPLES[2].digest.hex in arguments[0]:
            failed.append(arguments[0])
            raise OSError(errno.EIO, os.strerror(errno.EIO), arguments[0])
        return call(*arguments, **named)

    await push(store, ONE, CONFIG)
    await push(store, ONE, LAYER)
    first, lacking = image(LAYER), image(b"missing")
    pushes = [
        store.commit_manifest(ONE, of.digest, of.manifest, [LATEST], complete=of in {first, lacking})
        for of in (first, *SAMPLES, lacking)
    ]
    with surrounded(around):
        results = await asyncio.gather(*pushes, return_exceptions=True)
    assert [type(each) for each in results] == [type(None), *[Unavailable] * 5, Incomplete]
    assert len(failed) == len({*failed}) > 0
    assert await commit(store, [*zip(SAMPLES, TAGS, strict=True)]) == [None] * 5


async def test_a_lack_is_told_without_the_lock(store: FilesystemStore) -> None:
    """Where all lack something they wait for no lock, for there is nothing to be put into place."""
    with closing(StripedLocks(store.layout.locks)) as others, others.hold(ONE):
        async with asyncio.timeout(5):
            assert await commit(store, [(image(LAYER), LATEST)] * 3, complete=True) == [Incomplete] * 3


async def test_lock_that_is_not_to_be_had(store: FilesystemStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where another keeps the lock all are told so when one has waited for it, and nothing is left of them."""
    monkeypatch.setattr(tree, "PATIENCE", 0.5)
    pushed = [(sample(str(number)), Tag(f"t{number}")) for number in range(24)]
    with closing(StripedLocks(store.layout.locks)) as others, others.hold(ONE):
        assert await commit(store, pushed) == [Busy] * 24
    assert os.listdir(store.layout.new) == []
    assert await commit(store, pushed) == [None] * 24


async def test_another_repository_meanwhile(store: FilesystemStore) -> None:
    """Whoever waits for the lock of one repository leaves the thread to those who need another."""
    with closing(StripedLocks(store.layout.locks)) as others:
        with others.hold(ONE):
            waiting = asyncio.create_task(commit(store, [*zip(SAMPLES, TAGS, strict=True)]))
            await asyncio.sleep(0.02)
            for of in SAMPLES:
                async with asyncio.timeout(10):
                    await store.commit_manifest(OTHER, of.digest, of.manifest, [LATEST])
            assert not waiting.done()
        assert await waiting == [None] * 5


async def test_room_for_one(tmp_path: Path) -> None:
    """Where a quota has room for some of those who push at once, so many are stored."""
    size = len(SAMPLES[0].manifest.content)
    terms = Terms(quotas=Quotas([Quota("library/**", 3 * size + size // 2)]))
    with closing(FilesystemStore(str(tmp_path / "data"), terms)) as store:
        store.prepare()
        results = await commit(store, [*zip(SAMPLES, TAGS, strict=True)])
        assert sorted(map(str, results)) == sorted(map(str, [None] * 3 + [OverQuota] * 2))
        assert sum(await stored(store)) == 3


@pytest.mark.parametrize("fails_at", range(1, 6))
async def test_counted_where_it_fails_midway(store: FilesystemStore, fails_at: int) -> None:
    """What a push that fails has put into its place counts as what is stored does: an exact count finds the same."""
    await store.recount(0.0, share=1.0)
    renames = 0

    def around(name: str, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Any:
        nonlocal renames
        renames += name == "rename" and store.layout.new in arguments[0]
        if name == "rename" and renames == fails_at:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return call(*arguments, **named)

    with surrounded(around):
        results = await commit(store, [(SAMPLES[0], TAGS[0])])
    assert results == [Unavailable if renames >= fails_at else None]
    noted = await store.totals()
    assert await store.recount(0.0, share=1.0)
    exact = await store.totals()
    assert noted is not None
    assert exact is not None
    assert (noted.content, noted.repositories) == (exact.content, exact.repositories)
