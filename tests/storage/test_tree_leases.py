"""By whom a lease is renewed: by the event loop itself, unless a lock or a disk would keep it waiting."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
import time
from contextlib import closing
from threading import Event
from typing import TYPE_CHECKING

import pytest

from cargohold.storage import disk
from cargohold.storage.filesystem import usage
from cargohold.storage.protocols import Unavailable

from .collecting import LAYER, make_old
from .contract.base import LATEST, ONE, commit, push, sample

if TYPE_CHECKING:
    from collections.abc import Callable

    from cargohold.storage.filesystem import FilesystemStore
    from cargohold.types.digest import Digest

pytestmark = pytest.mark.usefixtures("loop")

FIRST = sample("first")
MORE_THAN_THREADS = 20
LIMIT = 30.0


@pytest.fixture
def store(collectable: FilesystemStore) -> FilesystemStore:
    return collectable


async def stored(store: FilesystemStore) -> Digest:
    """A blob and the manifest FIRST, whose leases are old; the blob's digest."""
    layer = await push(store, ONE, LAYER)
    await commit(store, ONE, FIRST, LATEST)
    make_old(store)
    return layer


def is_leased(folder: str) -> bool:
    return os.stat(folder).st_mtime > time.time() - 60


def renewers(monkeypatch: pytest.MonkeyPatch, before: Callable[[], None] = lambda: None) -> list[bool]:
    """Of each lease that is renewed from now on whether the event loop does it; `before` is called first."""
    found: list[bool] = []
    set_time = disk.set_time

    def note(path: str, nanoseconds: int | None = None) -> None:
        before()
        set_time(path, nanoseconds)
        found.append(threading.current_thread() is threading.main_thread())

    monkeypatch.setattr(disk, "set_time", note)
    return found


async def test_while_all_threads_are_at_work(store: FilesystemStore) -> None:
    """Where nobody holds the repository's lock no thread is waited for."""
    layer, may_end = await stored(store), Event()
    calls = [asyncio.ensure_future(store.in_metadata(may_end.wait, LIMIT)) for _ in range(MORE_THAN_THREADS)]
    try:
        await store.lease_manifest(ONE, FIRST.digest)
        await store.lease_blob(ONE, layer)
        assert not any(call.done() for call in calls)
    finally:
        may_end.set()
        await asyncio.gather(*calls)
    assert is_leased(store.layout.revision(ONE, FIRST.digest))
    assert is_leased(store.layout.layer(ONE, layer))


async def test_while_another_holds_the_lock(store: FilesystemStore) -> None:
    """The loop goes on meanwhile; the lease is renewed when the lock is free, and not before."""
    layer = await stored(store)
    with closing(type(store)(store.layout.root)) as other:
        with other.locks.hold(ONE):
            leases = [
                asyncio.ensure_future(store.lease_manifest(ONE, FIRST.digest)),
                asyncio.ensure_future(store.lease_blob(ONE, layer)),
            ]
            done, _ = await asyncio.wait(leases, timeout=0.05)
            assert done == set()
            assert not is_leased(store.layout.revision(ONE, FIRST.digest))
        await asyncio.wait_for(asyncio.gather(*leases), LIMIT)
    assert is_leased(store.layout.revision(ONE, FIRST.digest))
    assert is_leased(store.layout.layer(ONE, layer))


@pytest.mark.parametrize("share", [0, 10_000])
async def test_a_slow_disk(store: FilesystemStore, monkeypatch: pytest.MonkeyPatch, share: int) -> None:
    """One that kept the loop waiting is waited for by threads, until that has been a small share of the loop's time."""
    layer = await stored(store)
    monkeypatch.setattr(usage, "_LONG_SHARE", share)
    renewed_here = renewers(monkeypatch, before=lambda: time.sleep(0.01))
    await store.lease_manifest(ONE, FIRST.digest)
    await store.lease_blob(ONE, layer)
    assert renewed_here == [True, share == 0]


async def test_a_disk_that_fails(store: FilesystemStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever cannot be promised that it stays is told that the storage is unavailable."""

    def fail() -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    layer = await stored(store)
    renewed = renewers(monkeypatch, before=fail)
    with pytest.raises(Unavailable):
        await store.lease_manifest(ONE, FIRST.digest)
    with pytest.raises(Unavailable):
        await store.lease_blob(ONE, layer)
    assert renewed == []
