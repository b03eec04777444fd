"""Mounts into a repository that are asked for at the same time: done together, and each for itself."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cargohold.storage.filesystem import FilesystemStore, tree
from cargohold.storage.filesystem.leases import Terms
from cargohold.storage.locks import Busy, StripedLocks
from cargohold.storage.protocols import Full, NotFound, Unavailable
from cargohold.types.digest import Digest
from cargohold.types.names import RepositoryName
from cargohold.types.quotas import Quota, Quotas
from tests.collection.images import CONFIG, image
from tests.crash.calls import surrounded

from .contract.base import ONE, OTHER, blob, push
from .recorder import synced_folders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

pytestmark = pytest.mark.usefixtures("loop")

CONTENTS = [b"first", b"second", b"third", b"fourth"]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FilesystemStore]:
    """A store of one process."""
    with closing(FilesystemStore(str(tmp_path / "data"))) as made:
        made.prepare()
        yield made


async def mount(store: FilesystemStore, digests: list[Digest]) -> list[BaseException | None]:
    """Mount them all at the same time; what came of each."""
    mounts = [store.mount_blob(digest, ONE, OTHER) for digest in digests]
    async with asyncio.timeout(10):
        return await asyncio.gather(*mounts, return_exceptions=True)


async def test_synced_together(store: FilesystemStore) -> None:
    """A folder that several links are put into is synced once for them; each link is there. The first goes alone."""
    digests = [await push(store, ONE, content) for content in CONTENTS]
    with synced_folders(store.layout.repository(OTHER)) as synced:
        assert await mount(store, [*digests, digests[0]]) == [None] * 5
    assert synced.count("_layers/sha256") == 2
    assert synced.count(".") == 1
    assert [await blob(store, OTHER, digest) for digest in digests] == CONTENTS


@pytest.mark.parametrize("damage", [None, b"", b"sha256:" + bytes(64)])
async def test_link_of_the_source(store: FilesystemStore, damage: bytes | None) -> None:
    """A mounted blob's link is that of the source, of which each goes by itself; a damaged one is not taken on."""
    digest = await push(store, ONE, CONTENTS[0])
    links = [Path(store.layout.layer(repository, digest)) / "link" for repository in (ONE, OTHER)]
    if damage is not None:
        links[0].write_bytes(damage)
    assert await mount(store, [digest]) == [None]
    assert links[0].samefile(links[1]) is (damage is None)
    assert links[1].read_bytes() == digest.encode()
    await store.delete_blob(ONE, digest)
    assert await blob(store, OTHER, digest) == CONTENTS[0]


async def test_named_before_it_is_synced(store: FilesystemStore) -> None:
    """A manifest that names what has just been mounted makes that durable, however old the link of the source is."""
    digest, of = await push(store, ONE, CONTENTS[0]), image(CONTENTS[0])
    await push(store, OTHER, CONFIG)
    os.utime(f"{store.layout.layer(ONE, digest)}/link", (0, 0))
    mounted, loop = store.layout.layer(OTHER, digest), asyncio.get_running_loop()
    pushes: list[Future[None]] = []
    synced: list[str] = []

    def around(name: str, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Any:
        if name == "sync_folder" and arguments[0] == mounted and not pushes:
            pushing = other.commit_manifest(OTHER, of.digest, of.manifest, [], complete=True)
            pushes.append(asyncio.run_coroutine_threadsafe(pushing, loop))
            pushes[0].result(20)
            assert mounted in synced
        elif name == "sync_folder":
            synced.append(arguments[0])
        return call(*arguments, **named)

    with closing(FilesystemStore(store.layout.root)) as other, surrounded(around):
        assert await mount(store, [digest]) == [None]
    assert len(pushes) == 1


async def test_missing_one(store: FilesystemStore) -> None:
    """Who asks for what its source does not hold is told so; the others have theirs."""
    digests = [await push(store, ONE, content) for content in CONTENTS]
    results = await mount(store, [*digests[:2], Digest.of(b"missing"), *digests[2:]])
    assert [type(result) for result in results] == [type(None)] * 2 + [NotFound] + [type(None)] * 2
    assert [await blob(store, OTHER, digest) for digest in digests] == CONTENTS


async def test_one_that_fails(store: FilesystemStore) -> None:
    """What is in the way of one is in the way of no other."""
    digests = [await push(store, ONE, content) for content in CONTENTS]

    def around(name: str, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Any:
        if name == "make_folder" and digests[1].hex in arguments[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), arguments[0])
        return call(*arguments, **named)

    with surrounded(around):
        results = await mount(store, digests)
    assert [type(result) for result in results] == [type(None), Full, type(None), type(None)]
    there = [await blob(store, OTHER, digest) for digest in digests]
    assert there == [CONTENTS[0], None, *CONTENTS[2:]]
    await asyncio.to_thread(store.close)
    assert os.listdir(store.layout.new) == []


async def test_a_folder_that_cannot_be_synced(store: FilesystemStore) -> None:
    """All who go together are told so, and it is not synced again: a second sync that succeeds proves nothing."""
    digests = [await push(store, ONE, content) for content in CONTENTS]
    failed = []

    def around(name: str, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Any:
        if name == "sync_folder" and digests[2].hex in arguments[0]:
            failed.append(arguments[0])
            raise OSError(errno.EIO, os.strerror(errno.EIO), arguments[0])
        return call(*arguments, **named)

    with surrounded(around):
        results = await mount(store, digests)
    assert [type(result) for result in results] == [type(None), *[Unavailable] * 3]
    assert len(failed) == len({*failed}) > 0
    assert await mount(store, digests) == [None] * 4


async def test_lock_that_is_not_to_be_had(store: FilesystemStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where another keeps the lock all are told so when one has waited for it, and not one after the other."""
    monkeypatch.setattr(tree, "PATIENCE", 0.5)
    digests = [await push(store, ONE, b"%d" % number) for number in range(24)]
    with closing(StripedLocks(store.layout.locks)) as others, others.hold(OTHER):
        results = await mount(store, digests)
    assert {type(result) for result in results} == {Busy}
    assert await mount(store, digests) == [None] * 24


async def test_another_repository_meanwhile(store: FilesystemStore) -> None:
    """Whoever waits for the lock of one repository leaves the thread to those who need another."""
    digests = [await push(store, ONE, b"%d" % number) for number in range(8)]
    free = RepositoryName("free")
    with closing(StripedLocks(store.layout.locks)) as others:
        with others.hold(OTHER):
            waiting = [asyncio.create_task(mount(store, [digest])) for digest in digests]
            await asyncio.sleep(0.02)
            for digest in digests:
                async with asyncio.timeout(10):
                    await store.mount_blob(digest, ONE, free)
            assert not any(task.done() for task in waiting)
        assert await asyncio.gather(*waiting) == [[None]] * 8


async def test_room_is_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the content is gone before it could be mounted, no room is taken for it."""
    added_by = FilesystemStore._added_by
    with closing(
        FilesystemStore(str(tmp_path / "root"), Terms(quotas=Quotas((Quota(str(OTHER), 1_000),))))
    ) as store:
        store.prepare()
        digest = await push(store, ONE, b"content")
        # It is counted now, and not when the room is taken.
        assert [each.used for each in await store.quota_use()] == [0]

        def swept(self: FilesystemStore, link: Any) -> int:
            found = added_by(self, link)
            shutil.rmtree(store.layout.blob(digest), ignore_errors=True)
            return found

        monkeypatch.setattr(FilesystemStore, "_added_by", swept)
        with pytest.raises(NotFound):
            await store.mount_blob(digest, ONE, OTHER)
        assert [each.used for each in await store.quota_use()] == [0]
