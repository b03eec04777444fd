"""The trash in the tree: written before anything goes, read whatever else is there, and purged when it is over."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from cargohold.storage.filesystem import FilesystemStore, tree
from cargohold.storage.filesystem.leases import Terms
from cargohold.storage.locks import Busy
from cargohold.storage.protocols import Full, NotFound, Unavailable
from cargohold.storage.trash import DELETED, Cause, Trashed, Why, new_record
from cargohold.types.names import Tag
from tests.crash.calls import surrounded

from .contract.base import LATEST, ONE, OTHER, commit, document, sample, tags_of
from .foreign import Foreign, put
from .places import fill, small_disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from cargohold.storage.filesystem.deletion import Asked
    from cargohold.storage.protocols import StoreError
    from cargohold.storage.trash import Record
    from cargohold.types.names import RepositoryName

pytestmark = pytest.mark.usefixtures("loop")

FIRST, SECOND = sample("first"), sample("second")
GRACE, KEEP = 100.0, 1000.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FilesystemStore]:
    made = FilesystemStore(str(tmp_path / "data"), Terms(grace=GRACE, keep=KEEP))
    made.prepare()
    yield made
    made.close()


def trash(store: FilesystemStore, name: str = "") -> str:
    return f"{store.layout.trash(ONE)}/{name}"


def old(store: FilesystemStore, age: float) -> Record:
    """A record of a deletion that is so many seconds ago."""
    record = new_record(FIRST.digest, [LATEST], DELETED, whole=True, content=None, now=time.time() - age)
    store.keep_records(ONE, [record])
    return record


@pytest.fixture
def calls() -> Iterator[list[tuple[str, str]]]:
    """The renames and the syncs of folders, in their order."""
    made: list[tuple[str, str]] = []

    def around(name: str, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Any:
        result = call(*arguments, **named)
        if name == "rename":
            old, new = arguments
            made.append((name, new if "/trash/" in new else old))
        elif name == "sync_folder":
            made.append(("sync", arguments[0]))
        return result

    with surrounded(around):
        yield made


@pytest.mark.parametrize("by_tag", [False, True])
async def test_record_is_durable_first(
    store: FilesystemStore, calls: list[tuple[str, str]], by_tag: bool
) -> None:
    """Nothing is renamed away before the record's name, and every folder above it, is synced."""
    await commit(store, ONE, FIRST, LATEST)
    calls.clear()
    await (store.delete_tag(ONE, LATEST) if by_tag else store.delete_manifest(ONE, FIRST.digest))
    folder = trash(store).rstrip("/")
    placed = next(
        i for i, call in enumerate(calls) if call[0] == "rename" and call[1].startswith(f"{folder}/")
    )
    taken = next(i for i, call in enumerate(calls) if call[0] == "rename" and "/_manifests/" in call[1])
    synced = {path for kind, path in calls[placed:taken] if kind == "sync"}
    assert {folder, os.path.dirname(folder), store.layout.repository(ONE)} <= synced


async def test_no_record_no_deletion(store: FilesystemStore) -> None:
    """Where the record cannot be written, nothing is deleted."""
    await commit(store, ONE, FIRST, LATEST)

    def fail(name: str, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Any:
        if name == "sync_folder" and arguments[0].endswith("/trash"):
            raise OSError(5, "Input/output error", arguments[0])
        return call(*arguments, **named)

    with surrounded(fail):
        with pytest.raises(Unavailable):
            await store.delete_manifest(ONE, FIRST.digest)
        with pytest.raises(Unavailable):
            await store.delete_tag(ONE, LATEST)
    assert await document(store, ONE, FIRST.digest) == FIRST.manifest.content
    assert await tags_of(store, ONE) == [LATEST]


def after_it_is_written(
    store: FilesystemStore, monkeypatch: pytest.MonkeyPatch, do: Callable[[], object]
) -> None:
    """Do this when the record of a deletion has been written, before the lock is taken."""
    real = store.announce

    def announce(repository: RepositoryName, asked: Sequence[Asked]) -> list[Record | StoreError]:
        found = real(repository, asked)
        do()
        return found

    monkeypatch.setattr(store, "announce", announce)


async def test_tagged_before_the_lock(store: FilesystemStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tag that comes after the record was written goes with the manifest, and one record tells of all."""
    await commit(store, ONE, FIRST, LATEST)
    after_it_is_written(store, monkeypatch, lambda: Foreign(store.layout).tag(ONE, Tag("late"), FIRST.digest))
    assert sorted(await store.delete_manifest(ONE, FIRST.digest)) == ["late", "latest"]
    (record,) = (await store.read_trash(ONE)).records
    assert sorted(record.tags) == ["late", "latest"]


async def test_moved_before_the_lock(store: FilesystemStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is a tag missed that another process moves to the manifest after the record was written."""
    await commit(store, ONE, FIRST, LATEST)
    await commit(store, ONE, SECOND, Tag("late"))
    other = FilesystemStore(store.layout.root)
    after_it_is_written(store, monkeypatch, lambda: asyncio.run(commit(other, ONE, FIRST, Tag("late"))))
    assert sorted(await store.delete_manifest(ONE, FIRST.digest)) == ["late", "latest"]
    (record,) = (await store.read_trash(ONE)).records
    assert sorted(record.tags) == ["late", "latest"]
    other.close()


async def test_deleted_before_the_lock(store: FilesystemStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two who delete one manifest at once, one does, and there is one record."""
    await commit(store, ONE, FIRST, LATEST)
    after_it_is_written(store, monkeypatch, lambda: Foreign(store.layout).delete(ONE, FIRST, LATEST))
    with pytest.raises(NotFound):
        await store.delete_manifest(ONE, FIRST.digest)
    assert os.listdir(trash(store)) == []


@pytest.mark.parametrize("is_moved", [False, True])
async def test_tag_changed_before_the_lock(
    store: FilesystemStore, monkeypatch: pytest.MonkeyPatch, is_moved: bool
) -> None:
    """The record of a tag says where it pointed when it went; of one that went before, there is none."""
    await commit(store, ONE, FIRST, LATEST)
    await commit(store, ONE, SECOND)
    real, foreign = store._announce_tag, Foreign(store.layout)

    def announce(repository: RepositoryName, tag: Tag, cause: Cause) -> Record | None:
        record = real(repository, tag, cause)
        if is_moved:
            foreign.tag(ONE, LATEST, SECOND.digest)
        else:
            foreign.delete(ONE, FIRST, LATEST)
        return record

    monkeypatch.setattr(store, "_announce_tag", announce)
    if is_moved:
        await store.delete_tag(ONE, LATEST)
    else:
        with pytest.raises(NotFound):
            await store.delete_tag(ONE, LATEST)
    found = (await store.read_trash(ONE)).records
    assert [(record.digest, record.tags) for record in found] == (
        [(SECOND.digest, (LATEST,))] if is_moved else []
    )


@pytest.mark.parametrize("by_tag", [False, True])
async def test_lock_that_is_not_to_be_had(
    store: FilesystemStore, monkeypatch: pytest.MonkeyPatch, by_tag: bool
) -> None:
    """A deletion that could not be made, since another held the repository's lock, is not in the trash."""
    await commit(store, ONE, FIRST, LATEST)
    monkeypatch.setattr(tree, "PATIENCE", 0.05)
    with (
        closing(FilesystemStore(store.layout.root, store.terms)) as other,
        other.locks.hold(ONE),
        pytest.raises(Busy),
    ):
        await (store.delete_tag(ONE, LATEST) if by_tag else store.delete_manifest(ONE, FIRST.digest))
    assert await store.read_trash(ONE) == Trashed([], {})
    assert await tags_of(store, ONE) == [LATEST]


async def test_nothing_is_written_of_what_is_not_there(store: FilesystemStore) -> None:
    """A deletion that finds nothing leaves nothing."""
    await commit(store, ONE, FIRST)
    with pytest.raises(NotFound):
        await store.delete_manifest(ONE, SECOND.digest)
    with pytest.raises(NotFound):
        await store.delete_tag(ONE, LATEST)
    assert await store.trashed_repositories() == []


async def test_damaged_manifest(store: FilesystemStore) -> None:
    """A manifest whose content is gone can be deleted as any other, and is written down."""
    await commit(store, ONE, FIRST, LATEST)
    os.unlink(store.layout.data(FIRST.digest))
    assert await store.delete_manifest(ONE, FIRST.digest) == [LATEST]
    (record,) = (await store.read_trash(ONE)).records
    assert (record.digest, record.size) == (FIRST.digest, 0)


async def test_what_is_no_record(store: FilesystemStore) -> None:
    """A record that cannot be read is told, with the reason, and stays; the records beside it are read."""
    record = old(store, 1)
    names = [f"{record.name[:-1]}{number}" for number in range(10) if str(number) != record.name[-1]]
    paths = [trash(store, name) for name in names[:7]]
    contents = b"", b"\0" * 100, b"[" * 1_000_000, b'"' + b"x" * (17 << 20) + b'"'
    for path, content in zip(paths, contents, strict=False):
        put(path, content)
    os.mkdir(paths[4])
    os.mkfifo(paths[5])
    os.symlink(paths[6], paths[6])
    put(trash(store, "rubbish"), b"")
    found = await store.read_trash(ONE)
    assert found.records == [record]
    assert list(found.unreadable) == paths
    assert found.unreadable[paths[3]] == "it is larger than 16 MiB"
    assert "rubbish" in os.listdir(trash(store))
    assert len(os.listdir(trash(store))) == 9


async def test_unreadable_record_that_is_over(store: FilesystemStore) -> None:
    """A record that cannot be read is told for as long as it might be undone, and no longer."""
    for age in (KEEP - 5, KEEP + 5):
        put(trash(store, old(store, age).name), b"rubbish")
    found = await store.read_trash(ONE)
    assert (found.records, len(found.unreadable)) == ([], 1)
    await store.end_records(ONE, time.time())
    assert await store.read_trash(ONE) == Trashed([], {})


async def test_full_disk(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """On a full disk what clients delete is deleted, though it cannot be restored, which is logged; they make room.

    What goes by itself stays until there is room for its record.
    """
    with (
        small_disk(tmp_path / "disk", 1_024) as place,
        closing(FilesystemStore(str(place / "data"))) as store,
    ):
        store.prepare()
        await commit(store, ONE, FIRST, LATEST, Tag("v1"))
        await commit(store, ONE, SECOND)
        await commit(store, ONE, third := sample("third"), Tag("v3"))
        fill(place)
        await store.delete_tag(ONE, LATEST)
        store.disk.removals.close()
        fill(place)
        done = [store.delete_manifest(ONE, each.digest) for each in (FIRST, third)]
        assert await asyncio.gather(*done) == [["v1"], ["v3"]]
        store.disk.removals.close()
        filler = fill(place)
        with pytest.raises(Full):
            await store.delete_manifest(ONE, SECOND.digest, Cause(Why.UNTAGGED))
        assert await document(store, ONE, FIRST.digest) is None
        assert await document(store, ONE, SECOND.digest) == SECOND.manifest.content
        assert await store.read_trash(ONE) == Trashed([], {})
        assert caplog.messages == [
            f"no room to write down that {each.digest} is deleted in {ONE}: it cannot be restored"
            for each in (FIRST, FIRST, third)
        ]
        filler.unlink()
        await store.delete_manifest(ONE, SECOND.digest, Cause(Why.UNTAGGED))
        assert len((await store.read_trash(ONE)).records) == 1


async def test_no_folder_of_trash(store: FilesystemStore) -> None:
    """Nothing was deleted where there is no trash, or where another thing has its place."""
    assert (await store.read_trash(ONE)).records == []
    put(trash(store).rstrip("/"), b"a file")
    assert (await store.read_trash(ONE)).records == []
    assert await store.trashed_repositories() == []


@pytest.mark.parametrize(
    ("age", "ended", "is_over"),
    [
        (1, False, False),
        (KEEP - 5, False, False),
        (KEEP + 5, False, True),
        (GRACE - 5, True, False),
        (GRACE + 5, True, True),
    ],
)
async def test_purge(store: FilesystemStore, age: float, ended: bool, is_over: bool) -> None:
    """A record goes when it cannot be undone any more and the grace time is over, whether it can be read or not."""
    record = old(store, age)
    put(trash(store, f"{record.name[:-8]}76543210"), b"rubbish")
    if ended:
        assert await store.end_records(ONE, time.time()) == 2
    (seen,) = (await store.read_trash(ONE)).records
    assert seen.ended is ended
    assert store.is_alive(seen, time.time()) is not is_over
    assert store.purge(ONE, time.time()) == (2 if is_over else 0)
    assert len(os.listdir(trash(store))) == (0 if is_over else 2)


async def test_grace_is_longest(tmp_path: Path) -> None:
    """Who keeps nothing keeps it for the grace time all the same: pulls may be under way."""
    store = FilesystemStore(str(tmp_path), Terms(grace=GRACE, keep=0.0))
    store.prepare()
    for age in (GRACE - 5, GRACE + 5):
        old(store, age)
    assert store.purge(ONE, time.time()) == 1
    assert len((await store.read_trash(ONE)).records) == 1
    store.close()


async def test_others_files_are_not_purged(store: FilesystemStore) -> None:
    """What is not named as a record is not removed, however old it is."""
    put(trash(store, "notes.txt"), b"mine")
    os.utime(trash(store, "notes.txt"), (0, 0))
    assert store.purge(ONE, time.time()) == 0
    assert await store.end_records(ONE, time.time()) == 0
    assert os.listdir(trash(store)) == ["notes.txt"]


async def test_trashed_repositories(store: FilesystemStore) -> None:
    """Repositories in which something was deleted are found, also those that hold nothing any more."""
    for name in (OTHER, ONE):
        await commit(store, name, FIRST)
        await store.delete_manifest(name, FIRST.digest)
    await commit(store, OTHER, SECOND)
    assert await store.trashed_repositories() == [ONE, OTHER]
    assert await store.list_repositories("", 10) == [OTHER]


async def test_trash_behind_a_link(store: FilesystemStore, tmp_path: Path) -> None:
    """What was deleted in a repository that a symbolic link leads to is found like all else."""
    await commit(store, ONE, FIRST, LATEST)
    await store.delete_manifest(ONE, FIRST.digest)
    folder = store.layout.repository(ONE)
    os.rename(folder, tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", folder)
    assert await store.trashed_repositories() == [ONE]


async def test_thousands(store: FilesystemStore) -> None:
    """A trash of thousands is read in the order of time, and emptied and purged at once."""
    for age in range(3_000):
        put(
            trash(store, old_name(age)),
            new_record(FIRST.digest, [], DELETED, whole=True, content=None).encode(),
        )
    found = (await store.read_trash(ONE)).records
    assert [record.when for record in found] == sorted(record.when for record in found)
    assert len(found) == 3_000
    assert await store.end_records(ONE, time.time()) == 3_000
    assert store.purge(ONE, time.time()) == 3_000
    assert os.listdir(trash(store)) == []


def old_name(age: int) -> str:
    return new_record(FIRST.digest, [], DELETED, whole=True, content=None, now=time.time() - KEEP - age).name


async def test_end(store: FilesystemStore) -> None:
    """What was deleted before a time cannot be undone any more; what was ended already is not ended again."""
    records = [old(store, age) for age in (30, 20, 10)]
    assert await store.end_records(ONE, records[1].when) == 1
    assert await store.end_records(ONE, records[2].when) == 1
    assert [record.ended for record in (await store.read_trash(ONE)).records] == [True, True, False]


async def test_drop(store: FilesystemStore) -> None:
    """Records are dropped by their names; those that are not there any more are passed over."""
    records = [old(store, age) for age in (30, 20, 10)]
    for _ in range(2):
        await store.drop_records(ONE, [records[0].name, records[2].name])
        assert (await store.read_trash(ONE)).records == [records[1]]


async def test_record_of_the_future(store: FilesystemStore) -> None:
    """A record that a wrong clock has made can be ended, and then goes as others do."""
    old(store, -100 * KEEP)
    later = time.time() + GRACE + 5
    assert store.purge(ONE, later + KEEP) == 0
    assert await store.end_records(ONE, float("inf")) == 1
    assert store.purge(ONE, later) == 1
