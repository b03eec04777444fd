"""Deletion beside another server's deletions, of very many tags, and of what is not what it seems."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from cargohold.storage.filesystem import FilesystemStore
from cargohold.storage.locks import PATIENCE, StripedLocks
from cargohold.storage.protocols import NotFound, Unavailable
from cargohold.types.digest import Digest
from cargohold.types.names import Tag

from .contract.base import LATEST, ONE, commit, sample
from .foreign import Foreign, put

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("loop")

FIRST, SECOND = sample("first"), sample("second")


class Rival(FilesystemStore):
    """A store beside whose deletions another server does something, just before each rename."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.foreign = Foreign(self.layout)
        self.takes_away = ""

    def away(self, folder: str) -> str:
        if self.takes_away and self.takes_away in folder:
            shutil.rmtree(folder)
        return super().away(folder)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Rival]:
    made = Rival(str(tmp_path / "data"))
    made.prepare()
    yield made
    made.close()


@pytest.mark.parametrize("what", ["/tags/", "/revisions/"])
async def test_another_was_first(store: Rival, what: str) -> None:
    """What another server removes at the same time is no error: it is gone, as was asked."""
    await commit(store, ONE, FIRST, LATEST, Tag("v1"))
    await commit(store, ONE, SECOND, Tag("kept"))
    store.takes_away = what
    assert sorted(await store.delete_manifest(ONE, FIRST.digest)) == [LATEST, "v1"]
    assert await store.list_tags(ONE, "", 10) == ["kept"]
    with pytest.raises(NotFound):
        await store.read_manifest(ONE, FIRST.digest)


async def test_many_tags(store: Rival) -> None:
    """A manifest goes with its thousand tags at once; their folders are removed afterwards."""
    await commit(store, ONE, FIRST, LATEST)
    await commit(store, ONE, SECOND, Tag("kept"))
    for number in range(1_000):
        store.foreign.tag(ONE, Tag(f"t{number}"), FIRST.digest)
    assert len(await store.delete_manifest(ONE, FIRST.digest)) == 1_001
    assert await store.list_tags(ONE, "", 10) == ["kept"]
    end = time.monotonic() + 60
    while os.listdir(store.layout.new):
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


async def test_broken_tag(store: Rival) -> None:
    """A tag whose link says nothing can be deleted as any other."""
    await commit(store, ONE, FIRST)
    for name, content in (("empty", b""), ("rubbish", b"rubbish")):
        put(store.layout.tag_current(ONE, Tag(name)), content)
    assert await store.list_tags(ONE, "", 10) == ["empty", "rubbish"]
    for name in ("empty", "rubbish"):
        await store.delete_tag(ONE, Tag(name))
    assert await store.list_tags(ONE, "", 10) == []
    with pytest.raises(NotFound):
        await store.delete_tag(ONE, Tag("empty"))


async def test_linked_folders(store: Rival, tmp_path: Path) -> None:
    """Deleting a tag or manifest that is a symbolic link removes the link, and not what it leads to."""
    await commit(store, ONE, FIRST, LATEST)
    elsewhere = tmp_path / "elsewhere"
    os.rename(store.layout.tag(ONE, LATEST), elsewhere)
    os.symlink(elsewhere, store.layout.tag(ONE, LATEST))
    assert await store.list_tags(ONE, "", 10) == [LATEST]
    await store.delete_tag(ONE, LATEST)
    assert await store.list_tags(ONE, "", 10) == []
    assert sorted(path.name for path in elsewhere.iterdir()) == ["current", "index"]


async def test_tag_moved_meanwhile(store: Rival) -> None:
    """A tag that points elsewhere by the time it is looked at stays, though it pointed here when the deletion began."""
    tags = [Tag(f"t{number}") for number in range(20)]
    await commit(store, ONE, FIRST, *tags)
    await commit(store, ONE, SECOND)
    real = store.away

    def away(folder: str) -> str:
        for tag in tags:
            if os.path.exists(store.layout.tag(ONE, tag)) and folder != store.layout.tag(ONE, tag):
                store.foreign.tag(ONE, tag, SECOND.digest)
        return real(folder)

    store.away = away  # type: ignore[method-assign]
    assert len(await store.delete_manifest(ONE, FIRST.digest)) == 1
    assert len(await store.list_tags(ONE, "", 100)) == 19


async def test_several_at_once(store: Rival) -> None:
    """Manifests that are deleted at the same time go each with its own tags, and each has its record."""
    samples = {sample(f"{number}"): Tag(f"t{number}") for number in range(20)}
    for of, tag in samples.items():
        await commit(store, ONE, of, tag)
    await commit(store, ONE, FIRST, Tag("kept"))
    done = await asyncio.gather(*(store.delete_manifest(ONE, of.digest) for of in samples))
    assert done == [[tag] for tag in samples.values()]
    assert await store.list_tags(ONE, "", 100) == ["kept"]
    records = (await store.read_trash(ONE)).records
    assert {(each.digest, each.tags) for each in records} == {
        (of.digest, (tag,)) for of, tag in samples.items()
    }
    assert len(records) == len(samples)


async def test_one_by_several_at_once(store: Rival) -> None:
    """Of those who delete one manifest at the same time one does, and there is one record."""
    await commit(store, ONE, FIRST, LATEST)
    await commit(store, ONE, SECOND)
    asked = [FIRST.digest, FIRST.digest, SECOND.digest, sample("absent").digest, FIRST.digest]
    done = await asyncio.gather(*(store.delete_manifest(ONE, each) for each in asked), return_exceptions=True)
    assert [each for each in done if not isinstance(each, NotFound)] == [[LATEST], []]
    assert len((await store.read_trash(ONE)).records) == 2
    assert await store.list_repositories("", 10) == []


@pytest.mark.parametrize("is_foreign", [False, True])
async def test_tag_moved_between_deletions(store: Rival, is_foreign: bool) -> None:
    """A deletion knows what another process, of ours or not, has made of the tags since the one before."""
    tags = [Tag(f"t{number}") for number in range(10)]
    other = FilesystemStore(store.layout.root)
    await commit(store, ONE, FIRST, *tags[:5])
    await commit(store, ONE, SECOND, *tags[5:9])
    third = sample("third")
    await commit(store, ONE, third, tags[9])
    assert await store.delete_manifest(ONE, third.digest) == [tags[9]]
    if is_foreign:
        store.foreign.tag(ONE, tags[5], FIRST.digest)
        store.foreign.tag(ONE, tags[0], SECOND.digest)
        store.foreign.tag(ONE, tags[9], FIRST.digest)
    else:
        await commit(other, ONE, FIRST, tags[5], tags[9])
        await commit(other, ONE, SECOND, tags[0])
    other.close()
    assert sorted(await store.delete_manifest(ONE, FIRST.digest)) == [*tags[1:6], tags[9]]
    assert await store.list_tags(ONE, "", 100) == [tags[0], *tags[6:9]]


async def test_several_while_another_holds_the_lock(store: Rival) -> None:
    """They wait for it, and none is lost or written down twice."""
    samples = [sample(f"{number}") for number in range(5)]
    for of in samples:
        await commit(store, ONE, of)
    other = FilesystemStore(store.layout.root)
    with other.locks.hold(ONE):
        tasks = [asyncio.create_task(store.delete_manifest(ONE, of.digest)) for of in samples]
        await asyncio.sleep(0.1)
        assert not any(task.done() for task in tasks)
    other.close()
    assert await asyncio.gather(*tasks) == [[]] * len(samples)
    assert sorted(each.digest for each in (await store.read_trash(ONE)).records) == sorted(
        of.digest for of in samples
    )


async def test_one_that_cannot_be_removed(store: Rival) -> None:
    """What is in the way of one deletion is told to who asked for that; the others are done, and nothing half."""
    kept = sample("kept")
    for each in (FIRST, SECOND, kept):
        await commit(store, ONE, each, Tag(each.digest.hex[:8]))
    real = store.away

    def away(folder: str) -> str:
        if folder == store.layout.revision(ONE, FIRST.digest):
            raise OSError(errno.EPERM, "Operation not permitted", folder)
        return real(folder)

    store.away = away  # type: ignore[method-assign]
    digests = [FIRST.digest, SECOND.digest]
    first, second = await asyncio.gather(
        *(store.delete_manifest(ONE, digest) for digest in digests), return_exceptions=True
    )
    assert isinstance(first, Unavailable)
    assert second == [Tag(SECOND.digest.hex[:8])]
    assert await store.list_tags(ONE, "", 10) == [Tag(kept.digest.hex[:8])]
    store.away = real  # type: ignore[method-assign]
    assert await store.delete_manifest(ONE, FIRST.digest) == []


async def test_unknown_while_another_holds_the_lock(store: Rival) -> None:
    """For what is not there nobody waits."""
    await commit(store, ONE, FIRST, LATEST)
    with closing(StripedLocks(store.layout.locks)) as others, others.hold(ONE):
        async with asyncio.timeout(PATIENCE / 2):
            with pytest.raises(NotFound):
                await store.delete_manifest(ONE, SECOND.digest)


async def test_given_up_while_another_holds_the_lock(store: Rival) -> None:
    """A deletion that nobody waits for any more, and that has not begun, is not done later."""
    await commit(store, ONE, FIRST, LATEST)
    await commit(store, ONE, SECOND, Tag("v1"))
    with closing(StripedLocks(store.layout.locks)) as others:
        with others.hold(ONE):
            first = asyncio.create_task(store.delete_manifest(ONE, FIRST.digest))
            await asyncio.sleep(0.05)
            second = asyncio.create_task(store.delete_manifest(ONE, SECOND.digest))
            await asyncio.sleep(0.05)
            second.cancel()
            with pytest.raises(asyncio.CancelledError):
                await second
        assert await first == [LATEST]
    assert await store.list_tags(ONE, "", 10) == ["v1"]
    assert Digest.of(await store.read_manifest(ONE, SECOND.digest)) == SECOND.digest


@pytest.mark.parametrize("seconds", [0.0, 0.1], ids=["when it waits", "when it is being written down"])
async def test_given_up_by_the_first(store: Rival, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is it written down as done, whenever it was given up."""
    await commit(store, ONE, FIRST, LATEST)
    real = store.announce

    def announce(*asked: Any) -> Any:
        time.sleep(seconds)
        return real(*asked)

    monkeypatch.setattr(store, "announce", announce)
    with closing(StripedLocks(store.layout.locks)) as others, others.hold(ONE):
        deletion = asyncio.create_task(store.delete_manifest(ONE, FIRST.digest))
        await asyncio.sleep(0.05)
        deletion.cancel()
        with pytest.raises(asyncio.CancelledError):
            await deletion
    assert (await store.read_trash(ONE)).records == []
    assert await store.resolve_tag(ONE, LATEST) == FIRST.digest
