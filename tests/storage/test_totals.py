"""How much is stored, noted by whoever stores it and counted anew, whatever becomes of the file or of the tree."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import multiprocessing
import os
import random
import shutil
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cargohold.storage import totals
from cargohold.storage.filesystem import FilesystemStore, inventory
from cargohold.storage.totals import CONTENT_SHARDS, SHARDS, Sums, TotalsFile, content_shard, repository_shard
from cargohold.types.digest import Algorithm, Digest
from cargohold.types.names import RepositoryName
from tests.storage.contract.base import ONE, OTHER, commit, push, sample, started
from tests.storage.foreign import Foreign, put

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cargohold.storage.filesystem.pace import Pace

WAIT_SECONDS = 60.0
YEAR = 365 * 86400.0
_SESSION = {"startedat", "data"}

pytestmark = pytest.mark.usefixtures("loop")

_fork = multiprocessing.get_context("fork")


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "cargohold" / "totals")


@pytest.fixture
def file(path: str) -> Iterator[TotalsFile]:
    with closing(TotalsFile(path)) as opened:
        yield opened


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FilesystemStore]:
    with closing(FilesystemStore(str(tmp_path / "data"))) as opened:
        opened.prepare()
        yield opened


def finish(file: TotalsFile) -> None:
    """As if all had been counted."""
    number = file.begin()
    assert number is not None
    assert file.finish(number)


def truth(store: FilesystemStore) -> tuple[int, int, int]:
    """What a plain look at the tree finds."""
    root = Path(store.layout.registry)
    revisions = [
        link.parent
        for algorithm in Algorithm
        for link in root.glob(f"repositories/**/_manifests/revisions/{algorithm.value}/*/link")
    ]
    return (
        sum(data.stat().st_size for data in root.glob("blobs/*/*/*/data")),
        # Whoever is killed while a session ends may leave it without its date: it can be gone on with.
        len(
            {
                found.parent
                for found in root.glob("repositories/**/_uploads/*-*-*-*-*/*")
                if found.name in _SESSION
            }
        ),
        len({revision.parents[3] for revision in revisions}),
    )


async def held(store: FilesystemStore) -> tuple[int, int, int] | None:
    found = await store.totals()
    return None if found is None else (found.content, found.uploads, found.repositories)


def test_nothing_is_known_at_first(file: TotalsFile) -> None:
    """Before the first count nothing is told, though what comes is noted; from then on it is."""
    assert file.is_due(YEAR)
    file.add(3, Sums(content=7))
    assert file.read() is None
    before = time.time()
    finish(file)
    found = file.read()
    assert found is not None
    assert (found.content, found.uploads, found.repositories) == (7, 0, 0)
    assert before <= found.counted <= time.time()
    assert not file.is_due(YEAR)
    assert file.is_due(0)


def test_every_shard_has_its_own_sums(file: TotalsFile) -> None:
    """Shards are added up, and one is replaced without the others."""
    for shard in range(SHARDS):
        file.add(shard, Sums(content=1, uploads=2, repositories=3))
    finish(file)
    assert file.replace(5, Sums(content=100), file.changes(5))
    found = file.read()
    assert found is not None
    assert (found.content, found.uploads, found.repositories) == (
        SHARDS - 1 + 100,
        2 * (SHARDS - 1),
        3 * (SHARDS - 1),
    )


def test_what_changed_meanwhile_is_not_replaced(file: TotalsFile) -> None:
    """A shard that was added to since it was looked at keeps its sums, also where nothing is left of the change."""
    changes = file.changes(0)
    file.add(0, Sums(content=5))
    file.add(0, Sums(content=-5))
    assert not file.replace(0, Sums(content=9), changes)
    assert file.replace(0, Sums(content=9), file.changes(0))
    assert file.replace(0, Sums(content=8), None)


def test_never_less_than_nothing(file: TotalsFile) -> None:
    """What another server stored and we removed is not told as a number below zero."""
    finish(file)
    file.add(0, Sums(content=-5, uploads=-1, repositories=-1))
    found = file.read()
    assert found is not None
    assert (found.content, found.uploads, found.repositories) == (0, 0, 0)


def test_shards_are_those_of_the_tree() -> None:
    """Content is spread by the folder that it lies in, repositories over the rest."""
    digests = [Digest.of(b"%d" % number) for number in range(5000)]
    assert {content_shard(digest) for digest in digests} == set(range(CONTENT_SHARDS))
    names = [RepositoryName(f"r{number}") for number in range(5000)]
    assert {repository_shard(name) for name in names} == set(range(CONTENT_SHARDS, SHARDS))


def test_sums_that_are_too_large(file: TotalsFile) -> None:
    """More than the file has room for is no truth: it is counted anew."""
    finish(file)
    for _ in range(2):
        file.add(0, Sums(content=2**63 - 1))
    assert file.is_due(YEAR)
    file.add(0, Sums(content=2**63))
    assert file.is_due(YEAR)


def test_changes_go_round(file: TotalsFile, path: str) -> None:
    """After as many changes as there is room for, they are counted from nothing."""
    with closing(TotalsFile(path)) as first:
        first.add(0, Sums(content=1))
    with open(path, "r+b") as other:
        totals._write_shard(other.fileno(), 0, Sums(content=1), 2**32 - 1)
    assert file.changes(0) == 2**32 - 1
    file.add(0, Sums(content=1))
    assert file.changes(0) == 0


def _add(path: str, number: int) -> None:
    with closing(TotalsFile(path)) as file:

        def add() -> None:
            for _ in range(number):
                file.add(1, Sums(content=1))

        threads = [threading.Thread(target=add) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def test_many_at_once(path: str, file: TotalsFile) -> None:
    """Nothing is lost where threads of several processes add at the same moment."""
    processes = [_fork.Process(target=_add, args=(path, 300)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(WAIT_SECONDS)
        assert process.exitcode == 0
    finish(file)
    found = file.read()
    assert found is not None
    assert found.content == 3 * 2 * 300


def test_it_outlives_its_process(path: str, file: TotalsFile) -> None:
    """Who opens the file later finds what was noted, and that it was counted."""
    file.add(0, Sums(content=5))
    finish(file)
    file.close()
    with closing(TotalsFile(path)) as later:
        found = later.read()
        assert found is not None
        assert found.content == 5
        assert not later.is_due(YEAR)


def test_another_run_of_the_machine(path: str, file: TotalsFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the machine has started anew, which may have lost what was noted, it is told but to be counted again."""
    file.add(0, Sums(content=5))
    finish(file)
    boot = Path(path).parent / "boot"
    boot.write_text("another\n")
    monkeypatch.setattr(totals, "_BOOT", str(boot))
    with closing(TotalsFile(path)) as later:
        assert later.is_due(YEAR)
        assert later.read() is not None
        finish(later)
        assert not later.is_due(YEAR)


@pytest.mark.parametrize("content", [b"", b"x", bytes(10304), b"totals\x00\x02".ljust(10304, b"\x01")])
def test_a_file_of_something_else(path: str, content: bytes) -> None:
    """What is not a file of totals, of another version or cut off is made anew: nothing is known."""
    put(path, content)
    with closing(TotalsFile(path)) as file:
        assert file.read() is None
        file.add(0, Sums(content=5))
        finish(file)
        found = file.read()
        assert found is not None
        assert found.content == 5


def test_a_file_that_is_removed(path: str, file: TotalsFile) -> None:
    """It is made again at once, and what it said is to be counted."""
    finish(file)
    assert file.read() is not None
    os.unlink(path)
    assert file.read() is None
    assert file.is_due(YEAR)


def test_a_place_where_nothing_can_be_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is known then and nothing raised; the log says it once."""
    put(str(tmp_path / "cargohold"), b"a file in the place of the folder")
    with (
        closing(TotalsFile(str(tmp_path / "cargohold" / "totals"))) as file,
        caplog.at_level(logging.WARNING),
    ):
        for _ in range(3):
            file.add(0, Sums(content=5))
            assert file.begin() is None
            assert not file.finish(1)
            assert file.read() is None
            assert not file.is_due(0)
            assert not file.replace(0, Sums(), None)
    assert len(caplog.records) == 1
    assert "cannot be used" in caplog.text


def test_a_lock_that_is_held(path: str, file: TotalsFile, caplog: pytest.LogCaptureFixture) -> None:
    """Who holds the lock and sleeps keeps nobody: nothing is noted until it is let go."""
    finish(file)
    with open(path, "rb") as other, caplog.at_level(logging.WARNING):
        fcntl.flock(other, fcntl.LOCK_EX)
        file.add(0, Sums(content=5))
        assert file.read() is None
    file.add(0, Sums(content=6))
    found = file.read()
    assert found is not None
    assert found.content == 6


async def test_a_tree_that_was_there_before(store: FilesystemStore) -> None:
    """What other servers and hands have put into the tree is told once it is counted, and what they took away too."""
    foreign = Foreign(store.layout)
    first, second = sample("first"), sample("second")
    foreign.push(ONE, first)
    foreign.push(OTHER, second)
    foreign.content(sample("without a link"))
    put(
        f"{store.layout.uploads(ONE)}/0a1b2c3d-0000-4000-8000-0123456789ab/startedat", b"2024-01-02T15:04:05Z"
    )
    put(f"{store.layout.uploads(ONE)}/no-session/startedat", b"")
    put(f"{store.layout.blobs}/sha256/ab/file", b"not a folder")
    assert await held(store) is None
    assert await store.recount(YEAR)
    assert await held(store) == truth(store)
    assert not await store.recount(YEAR)
    foreign.delete(OTHER, second)
    foreign.collect(second)
    shutil.rmtree(store.layout.uploads(ONE))
    assert await store.recount(0)
    assert await held(store) == truth(store)


async def test_folders_that_are_empty(store: FilesystemStore) -> None:
    """What a process that died has left half ended is no session, and a folder of content without bytes is nothing."""
    os.makedirs(f"{store.layout.uploads(ONE)}/0a1b2c3d-0000-4000-8000-0123456789ab")
    os.makedirs(store.layout.blob(Digest.of(b"gone")))
    assert await store.recount(0)
    assert await held(store) == (0, 0, 0)


async def test_what_is_not_to_be_read(store: FilesystemStore) -> None:
    """A folder that may not be read does not keep the rest from being counted."""
    await push(store, ONE, b"12345")
    folders = [f"{store.layout.blobs}/sha256/{number:02x}" for number in (1, 2)]
    for folder in folders:
        os.makedirs(folder, exist_ok=True)
    os.makedirs(store.layout.uploads(OTHER))
    closed = [folders[0], store.layout.uploads(OTHER)]
    for folder in closed:
        os.chmod(folder, 0)
    try:
        assert await store.recount(0)
    finally:
        for folder in closed:
            os.chmod(folder, 0o755)
    assert await held(store) == (5, 0, 0)


async def test_one_at_a_time(store: FilesystemStore) -> None:
    """While one counts, nobody else does; nor once it has ended, before the time has come again."""
    with closing(FilesystemStore(store.layout.root)) as second:
        counted = await asyncio.gather(*(each.recount(YEAR) for each in (store, second) * 2))
        assert sorted(counted) == [False, False, False, True]


async def test_what_comes_while_all_is_counted(store: FilesystemStore) -> None:
    """What is stored, ended and removed in the midst of a count is in it, once: at its end all agrees with the tree."""
    dice = random.Random(7)
    for number in range(60):
        await push(store, RepositoryName(f"old{number}"), b"%d" % number * 50)
    with closing(FilesystemStore(store.layout.root)) as second:
        count, number = asyncio.ensure_future(second.recount(0)), 0
        while not count.done():
            number += 1
            name = RepositoryName(f"new{number % 40}")
            of = sample(f"{number % 30}")
            match dice.randrange(5):
                case 0:
                    await push(store, name, b"new %d" % number)
                case 1:
                    await started(store, name, b"1")
                case 2:
                    upload = await started(store, name, b"2")
                    await store.cancel_upload(name, upload)
                case 3:
                    await commit(store, name, of)
                case 4 if not await store.missing_manifests(name, [of.digest]):
                    await store.delete_manifest(name, of.digest)
        assert await count
        assert number > 20
        assert await held(store) == truth(store)


async def test_a_shard_that_never_rests(store: FilesystemStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where something is noted during every look, the count ends all the same, with what was found last."""
    digest = await push(store, ONE, b"12345")
    look = inventory.FileInventory._content

    def disturbed(of: inventory.FileInventory, shard: int, pace: Pace) -> Sums:
        if shard == content_shard(digest):
            store.noted.add(shard, Sums(content=1))
        return look(of, shard, pace)

    monkeypatch.setattr(inventory.FileInventory, "_content", disturbed)
    with closing(FilesystemStore(store.layout.root)) as second:
        assert await second.recount(0)
    assert await held(store) == (5, 0, 0)


async def test_a_store_that_is_closed(store: FilesystemStore) -> None:
    """Closing does not wait for a count: it is broken off, and another process takes it up."""
    for number in range(100):
        await push(store, ONE, b"%d" % number)
    closed = FilesystemStore(store.layout.root)
    count = asyncio.ensure_future(closed.recount(0))
    await asyncio.sleep(0.2)
    await asyncio.get_running_loop().run_in_executor(None, closed.close)
    assert not await count
    assert await held(store) is None
    assert await store.recount(YEAR)
    assert await held(store) == truth(store)


async def test_room(store: FilesystemStore) -> None:
    """The room of the file system of the storage."""
    found, disk = await store.room(), os.statvfs(store.layout.root)
    assert found is not None
    assert found.whole == disk.f_blocks * disk.f_frsize
    assert 0 < found.free <= found.whole
