"""What a run of the collector does where something is in its way, or the tree is not as it should be."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cargohold.storage import disk
from cargohold.storage.filesystem import FilesystemStore
from cargohold.storage.filesystem.collection import manifests
from cargohold.types.digest import Digest
from cargohold.types.names import RepositoryName
from tests.collection.images import open_store

from .collecting import IMAGE, LAYER, STRAY, collect, contents, everywhere, make_old
from .contract.base import LATEST, ONE, OTHER, blob, commit, document, push
from .foreign import put
from .places import fill, small_disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cargohold.storage.filesystem.deletion import Asked
    from cargohold.storage.protocols import StoreError
    from cargohold.storage.trash import Record

pytestmark = pytest.mark.usefixtures("loop")


@pytest.fixture
def store(collectable: FilesystemStore) -> FilesystemStore:
    return collectable


def move_behind_link(folder: Path) -> None:
    target = folder.parent.parent.parent / "elsewhere"
    shutil.move(folder, target)
    folder.symlink_to(target)


@contextmanager
def immovable(folder: str) -> Iterator[None]:
    subprocess.run(["chattr", "+i", folder], check=True, timeout=30)
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", folder], check=True, timeout=30)


def refusing(locked: str, real: Callable[[str], object]) -> Callable[[str], object]:
    """The call, but for one folder that it may not read: root may read every folder, and tests may be run by root."""

    def call(path: str) -> object:
        if path == locked:
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return real(path)

    return call


async def test_a_repository_whose_lock_is_held(
    store: FilesystemStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing goes there, nor into the trash, so the next run takes all."""
    await commit(store, ONE, IMAGE)
    make_old(store)
    monkeypatch.setattr(manifests, "_LOCK_SECONDS", 0.05)
    other = FilesystemStore(store.layout.root, store.terms)
    real = store.announce

    with ExitStack() as held:

        def announce(repository: RepositoryName, asked: Sequence[Asked]) -> list[Record | StoreError]:
            held.enter_context(other.locks.hold(ONE))
            return real(repository, asked)

        with monkeypatch.context() as patch:
            patch.setattr(store, "announce", announce)
            assert list(collect(store, untagged=everywhere).skipped) == [ONE]
    other.close()
    assert (await store.read_trash(ONE)).records == []
    assert collect(store, untagged=everywhere).manifests == 1


async def test_a_manifest_that_cannot_be_read(store: FilesystemStore) -> None:
    """Nothing goes in its repository, not even content that nobody else links; elsewhere all is collected."""
    await push(store, ONE, STRAY)
    await commit(store, ONE, IMAGE, LATEST)
    await push(store, OTHER, b"else")
    put(store.layout.data(IMAGE.digest), b"damaged")
    make_old(store)
    store = FilesystemStore(store.layout.root, store.terms)
    report = collect(store)
    assert list(report.skipped) == [ONE]
    assert contents(store) == {Digest.of(STRAY), IMAGE.digest}
    os.unlink(store.layout.data(IMAGE.digest))
    assert list(collect(store).skipped) == [ONE]
    store.close()


async def test_a_repository_behind_a_symbolic_link(store: FilesystemStore) -> None:
    """It is served, so all that it links to stays."""
    await push(store, ONE, STRAY)
    make_old(store)
    move_behind_link(Path(store.layout.repository(ONE)))
    assert collect(store).blobs == 0
    assert await blob(store, ONE, Digest.of(STRAY)) == STRAY


async def test_a_repository_with_two_names(store: FilesystemStore) -> None:
    """Whoever asks by the one takes another lock than who asks by the other: nothing goes, by either."""
    await push(store, ONE, STRAY)
    await push(store, OTHER, b"else")
    make_old(store)
    os.symlink(store.layout.repository(ONE), store.layout.repository(RepositoryName("alias")))
    assert (collect(store).links, contents(store)) == (1, {Digest.of(STRAY)})
    assert await blob(store, ONE, Digest.of(STRAY)) == STRAY


async def test_a_repository_that_was_hidden(store: FilesystemStore) -> None:
    """Nobody serves it by the name that it has now, and all that it links stays, for when it is shown again."""
    await push(store, ONE, LAYER)
    await commit(store, ONE, IMAGE, LATEST)
    make_old(store)
    folder = store.layout.repository(ONE)
    for hidden in ("_hidden", ".hidden", "Hidden"):
        os.rename(folder, f"{store.layout.repositories}/{hidden}")
        assert collect(store).blobs == 0
        os.rename(f"{store.layout.repositories}/{hidden}", folder)
    assert await blob(store, ONE, Digest.of(LAYER)) == LAYER
    assert await document(store, ONE, IMAGE.digest) == IMAGE.manifest.content


@pytest.mark.parametrize("part", ["_layers", "_manifests/revisions"])
async def test_links_by_an_unknown_algorithm(store: FilesystemStore, part: str) -> None:
    """Another registry may link content by more algorithms than we know: its link says where the bytes are."""
    held = await push(store, ONE, LAYER)
    put(f"{store.layout.repository(ONE)}/{part}/sha384/{'a' * 96}/link", held.encode())
    make_old(store)
    report = collect(store)
    assert (report.links, report.blobs) == (0, 0)
    assert list(report.skipped) == ([] if part == "_layers" else [ONE])
    assert contents(store) == {held}


async def test_a_link_that_may_not_be_changed(
    store: FilesystemStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stays with its content, and is told; what is beside it, and in other repositories, goes."""
    for name, content_ in ((ONE, STRAY), (ONE, b"beside"), (OTHER, b"else")):
        await push(store, name, content_)
    make_old(store)
    stuck, real = store.layout.layer(ONE, Digest.of(STRAY)), disk.rename

    def rename(old: str, new: str) -> None:
        if old == stuck:
            raise PermissionError(errno.EPERM, "Operation not permitted", old)
        real(old, new)

    monkeypatch.setattr(disk, "rename", rename)
    report = collect(store)
    assert (report.ended, report.content_stays, list(report.skipped)) == (True, False, [ONE])
    assert report.skipped[ONE] == f"not all could be taken away: {stuck}: Operation not permitted"
    assert contents(store) == {Digest.of(STRAY)}


@pytest.mark.parametrize("place", ["", "_layers/sha256", "_manifests/revisions/sha256", "_cargohold/trash"])
async def test_what_cannot_be_listed(
    store: FilesystemStore, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """It may link any content, so none goes, which is told; links of other repositories do, and content later."""
    await push(store, ONE, STRAY)
    await commit(store, ONE, IMAGE, LATEST)
    await push(store, OTHER, b"else")
    make_old(store)
    locked = f"{store.layout.repository(ONE)}/{place}".rstrip("/")
    with monkeypatch.context() as patch:
        for name in ("scandir", "listdir"):
            patch.setattr(os, name, refusing(locked, getattr(os, name)))
        report = collect(store)
    assert (report.ended, report.content_stays, report.links, report.blobs) == (True, True, 1, 0)
    assert report.skipped[ONE] == f"{locked}: Permission denied"
    assert len(contents(store)) == 3
    assert await blob(store, ONE, Digest.of(STRAY)) == STRAY
    report = collect(store)
    assert (report.skipped, report.content_stays) == ({}, False)
    assert contents(store) == {IMAGE.digest}


async def test_content_that_cannot_be_moved(store: FilesystemStore) -> None:
    """It stays and is told of, and all else is collected."""
    for number in range(8):
        await push(store, ONE, bytes([number]))
    make_old(store)
    held = store.layout.blob(Digest.of(b"\3"))
    with immovable(held):
        report = collect(store)
    assert (report.links, report.blobs, report.ended) == (8, 7, True)
    assert list(report.skipped) == [f"blobs/sha256/{Digest.of(bytes([3])).hex[:2]}"]
    assert contents(store) == {Digest.of(b"\3")}
    assert collect(store).blobs == 1


async def test_a_tree_without_repositories(store: FilesystemStore) -> None:
    """A folder that is gone, or on a volume that is not mounted, has linked all that there is."""
    await push(store, ONE, STRAY)
    make_old(store)
    shutil.rmtree(store.layout.repositories)
    assert collect(store).content_stays
    os.symlink("/not/mounted", store.layout.repositories)
    with pytest.raises(FileNotFoundError):
        collect(store)
    assert contents(store) == {Digest.of(STRAY)}


async def test_a_full_disk(tmp_path: Path) -> None:
    """That is when room is needed most: nothing of a collection needs any."""
    with small_disk(tmp_path / "disk", 2_048) as disk:
        store = open_store(disk / "data")
        store.prepare()
        kept = await push(store, ONE, LAYER)
        await commit(store, ONE, IMAGE, LATEST)
        for number in range(100):
            await push(store, RepositoryName(f"r{number}"), bytes([number]) * 5_000)
        make_old(store)
        fill(disk)
        report = collect(store)
        assert (report.links, report.blobs, report.ended) == (100, 100, True)
        assert contents(store) == {kept, IMAGE.digest}
        store.close()
