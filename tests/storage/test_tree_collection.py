"""What a run of the collector takes away, and what it leaves, while nobody does anything else."""

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
from cargohold.storage.filesystem.collection import content, empty, manifests
from cargohold.storage.filesystem.leases import Terms
from cargohold.storage.filesystem.pace import ClosingError, Pace
from cargohold.storage.protocols import NotFound
from cargohold.types.digest import Algorithm, Digest
from cargohold.types.names import RepositoryName, Tag
from tests.collection.images import index

from .collecting import HOUR, collect, everywhere, make_old
from .contract.base import LATEST, ONE, OTHER, blob, commit, document, push, sample
from .foreign import put
from .places import fill, small_disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cargohold.storage.collecting import Collected
    from cargohold.storage.trash import Cause, Record

pytestmark = pytest.mark.usefixtures("loop")

LAYER, IMAGE = b"first", sample("first")
STRAY = b"stray"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FilesystemStore]:
    made = FilesystemStore(str(tmp_path / "data"), Terms(grace=HOUR, keep=0))
    made.prepare()
    yield made
    made.close()


def contents(store: FilesystemStore) -> set[Digest]:
    found = (Path(folder) for folder, _, files in os.walk(store.layout.blobs) if "data" in files)
    return {Digest(f"{folder.parent.parent.name}:{folder.name}") for folder in found}


async def test_a_blob_that_nothing_uses(store: FilesystemStore) -> None:
    """Its link goes and then its content; a blob that a manifest uses, and the manifest, stay."""
    used, unused = await push(store, ONE, LAYER), await push(store, ONE, STRAY)
    await commit(store, ONE, IMAGE, LATEST)
    make_old(store)
    report = collect(store)
    assert (report.links, report.blobs, report.collected_bytes) == (1, 1, len(STRAY))
    assert report.ended
    assert contents(store) == {used, IMAGE.digest}
    assert await blob(store, ONE, unused) is None
    assert await blob(store, ONE, used) == LAYER


async def test_a_blob_that_is_leased(store: FilesystemStore) -> None:
    """Whoever asked for a blob, pushed or mounted it, has it for the grace time: link and content."""
    for name, content_ in (("asked", b"a"), ("again", b"b"), ("mounted", b"c")):
        await push(store, RepositoryName(name), content_)
    make_old(store)
    await store.lease_blob(RepositoryName("asked"), Digest.of(b"a"))
    await push(store, RepositoryName("again"), b"b")
    await store.mount_blob(Digest.of(b"c"), RepositoryName("mounted"), OTHER)
    report = collect(store)
    assert (report.links, report.blobs) == (1, 0)
    with pytest.raises(NotFound):
        await store.find_blob(RepositoryName("mounted"), Digest.of(b"c"))
    for name, content_ in ((RepositoryName("asked"), b"a"), (RepositoryName("again"), b"b"), (OTHER, b"c")):
        assert await blob(store, name, Digest.of(content_)) == content_


async def test_content_of_two_repositories(store: FilesystemStore) -> None:
    """It stays while one of them uses it, and goes with the last."""
    for name in (ONE, OTHER):
        await push(store, name, LAYER)
        await commit(store, name, IMAGE, LATEST)
    await store.delete_manifest(ONE, IMAGE.digest)
    make_old(store)
    make_trash_old(store, ONE)
    assert (collect(store).links, contents(store)) == (1, {Digest.of(LAYER), IMAGE.digest})
    await store.delete_manifest(OTHER, IMAGE.digest)
    make_old(store)
    make_trash_old(store, OTHER)
    assert collect(store).blobs == 2
    assert contents(store) == set()


def damage(path: str) -> None:
    Path(path).write_bytes(b"damaged")


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


def make_trash_old(store: FilesystemStore, repository: RepositoryName) -> None:
    """As if it had been deleted long ago: the time is in the name of a record."""
    folder = Path(store.layout.trash(repository))
    for record in folder.iterdir():
        record.rename(folder / f"2020{record.name[4:]}")


async def test_a_deleted_manifest(store: FilesystemStore) -> None:
    """What it needs stays for the grace time, so that who pulls it comes to an end."""
    await push(store, ONE, LAYER)
    await commit(store, ONE, IMAGE, LATEST)
    await store.delete_manifest(ONE, IMAGE.digest)
    make_old(store)
    report = collect(store)
    assert (report.links, report.blobs) == (0, 0)
    assert await blob(store, ONE, Digest.of(LAYER)) == LAYER


async def test_untagged_manifests(store: FilesystemStore) -> None:
    """They stay by default; where they are collected, so do those that a tag, a subject or a lease leads to."""
    signature, leased = sample("signature", subject=IMAGE.digest), sample("leased")
    subject, referrer = sample("subject"), sample("referrer", subject=sample("subject").digest)
    await commit(store, ONE, IMAGE, LATEST)
    await commit(store, ONE, signature)
    await commit(store, ONE, subject)
    await commit(store, ONE, referrer, Tag("tagged"))
    await commit(store, ONE, leased)
    await commit(store, ONE, sample("unused"))
    make_old(store)
    await store.lease_manifest(ONE, leased.digest)
    assert collect(store).manifests == 0
    found: list[Collected] = []
    assert collect(store, untagged=everywhere, is_dry=True, found=found.append).manifests == 1
    assert [each.digest for each in found] == [sample("unused").digest]
    assert collect(store, untagged=everywhere).manifests == 1
    with pytest.raises(NotFound):
        await store.read_manifest(ONE, sample("unused").digest)
    for each in (IMAGE, signature, subject, referrer, leased):
        await store.read_manifest(ONE, each.digest)


async def test_referrers_follow_their_subject(store: FilesystemStore) -> None:
    """When a deletion cannot be undone any more, what referred to it goes too; not where it was stored again."""
    other, signature = sample("other"), sample("signature", subject=IMAGE.digest)
    kept = sample("kept", subject=other.digest)
    for each in (IMAGE, other, signature, kept, sample("foreign", subject=sample("elsewhere").digest)):
        await commit(store, ONE, each)
    for each in (IMAGE, other):
        await store.delete_manifest(ONE, each.digest)
    make_old(store)
    assert collect(store).manifests == 0
    await commit(store, ONE, other)
    make_old(store)
    make_trash_old(store, ONE)
    found: list[Collected] = []
    collect(store, found=found.append)
    assert [(each.kind, each.digest) for each in found if each.kind == "manifest"] == [
        ("manifest", signature.digest)
    ]


async def test_a_referrer_that_is_asked_for(store: FilesystemStore) -> None:
    """It is spared for its lease when its subject's deletion is over, and follows it after that."""
    signature = sample("signature", subject=IMAGE.digest)
    for each in (IMAGE, signature):
        await commit(store, ONE, each)
    await store.delete_manifest(ONE, IMAGE.digest)
    make_trash_old(store, ONE)
    make_old(store)
    await store.lease_manifest(ONE, signature.digest)
    assert collect(store).manifests == 0
    make_old(store)
    assert collect(store).manifests == 1
    make_trash_old(store, ONE)
    collect(store)
    assert os.listdir(store.layout.trash(ONE)) == []


async def test_a_shorter_grace_time_for_pulls(store: FilesystemStore) -> None:
    """A run can be told that nobody is pulling any more what was deleted: then what nobody can restore goes."""
    await push(store, ONE, LAYER)
    await commit(store, ONE, IMAGE, LATEST)
    await store.delete_manifest(ONE, IMAGE.digest)
    (record,) = os.listdir(store.layout.trash(ONE))
    damage(f"{store.layout.trash(ONE)}/{record.replace('Z-', 'Z-0')[:-1]}")
    make_old(store)
    assert list(collect(store).skipped) == [ONE]
    report = collect(store, grace=0)
    assert (report.skipped, report.links, report.blobs) == ({}, 1, 2)
    assert os.listdir(store.layout.trash(ONE)) == []


async def test_images_of_an_index_that_was_deleted(store: FilesystemStore) -> None:
    """They stay with their signatures for as long as the index can be restored, also where untagged ones go."""
    image, children = sample("child"), index(sample("child"))
    signature = sample("signature", subject=image.digest)
    for each in (image, signature, sample("unused")):
        await commit(store, ONE, each)
    await commit(store, ONE, children, LATEST)
    await store.delete_manifest(ONE, children.digest)
    make_old(store)
    assert collect(store, untagged=everywhere).manifests == 1
    for each in (image, signature):
        await store.read_manifest(ONE, each.digest)


async def test_a_repository_whose_lock_is_held(
    store: FilesystemStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing goes there, nor into the trash, so the next run takes all."""
    await commit(store, ONE, IMAGE)
    make_old(store)
    monkeypatch.setattr(manifests, "_LOCK_SECONDS", 0.05)
    other = FilesystemStore(store.layout.root, store.terms)
    real = store.announce_manifest

    with ExitStack() as held:

        def announce(repository: RepositoryName, digest: Digest, cause: Cause) -> Record:
            held.enter_context(other.locks.hold(ONE))
            return real(repository, digest, cause)

        with monkeypatch.context() as patch:
            patch.setattr(store, "announce_manifest", announce)
            assert list(collect(store, untagged=everywhere).skipped) == [ONE]
    other.close()
    assert (await store.read_trash(ONE)).records == []
    assert collect(store, untagged=everywhere).manifests == 1


async def test_a_manifest_that_cannot_be_read(store: FilesystemStore) -> None:
    """Nothing goes in its repository, not even content that nobody else links; elsewhere all is collected."""
    await push(store, ONE, STRAY)
    await commit(store, ONE, IMAGE, LATEST)
    await push(store, OTHER, b"else")
    damage(store.layout.data(IMAGE.digest))
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


def refusing(locked: str, real: Callable[[str], object]) -> Callable[[str], object]:
    """The call, but for one folder that it may not read: root may read every folder, and tests may be run by root."""

    def call(path: str) -> object:
        if path == locked:
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return real(path)

    return call


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


async def test_a_dry_run(store: FilesystemStore) -> None:
    """It tells all that would go, and changes nothing."""
    await push(store, ONE, STRAY)
    make_old(store)
    found: list[Collected] = []
    report = collect(store, is_dry=True, found=found.append)
    assert [(each.kind, each.repository, each.digest, each.size) for each in found] == [
        ("link", ONE, Digest.of(STRAY), len(STRAY)),
        ("blob", None, Digest.of(STRAY), len(STRAY)),
    ]
    assert (report.blobs, report.is_dry) == (1, True)
    assert await blob(store, ONE, Digest.of(STRAY)) == STRAY
    assert os.listdir(store.layout.gc) == []


async def test_a_dry_run_of_untagged_manifests(store: FilesystemStore) -> None:
    """It leaves all times as they are, by which others know what has changed."""
    await commit(store, ONE, IMAGE)
    make_old(store)
    times = {folder: os.stat(folder).st_mtime_ns for folder, *_ in os.walk(store.layout.registry)}
    assert collect(store, untagged=everywhere, is_dry=True).manifests == 1
    assert {folder: os.stat(folder).st_mtime_ns for folder in times} == times


async def test_a_run_that_is_broken_off(store: FilesystemStore) -> None:
    """The next one goes on from there, and knows what the first had seen."""
    for number in range(300):
        await push(store, RepositoryName(f"r{number}"), b"%d" % number, [*Algorithm][number % 2])
    make_old(store)
    await store.lease_blob(RepositoryName("r7"), Digest.of(b"7", Algorithm.SHA512))
    found: list[Collected] = []
    with pytest.raises(ClosingError):
        collect(store, found=found.append, is_closing=lambda: len(found) > 100)
    report = collect(store)
    assert report.is_resumed
    assert report.repositories < 300
    assert contents(store) == {Digest.of(b"7", Algorithm.SHA512)}
    assert not collect(store).is_resumed


async def test_bytes_leave_the_disk_later(store: FilesystemStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server may be about to open what it has just found: content is removed half a minute after it was collected."""
    await push(store, ONE, STRAY)
    make_old(store)
    collect(store)
    pace = Pace(lambda: False, 1.0)
    assert empty(store, pace) == 0
    assert len(os.listdir(store.layout.swept)) == 1
    monkeypatch.setattr(content, "EMPTY_AFTER", -1.0)
    assert empty(store, pace) == len(STRAY)
    assert os.listdir(store.layout.swept) == []
    assert await push(store, ONE, STRAY) in contents(store)


async def test_a_full_disk(tmp_path: Path) -> None:
    """That is when room is needed most: nothing of a collection needs any."""
    with small_disk(tmp_path / "disk", 2_048) as disk:
        store = FilesystemStore(str(disk / "data"), Terms(grace=HOUR, keep=0))
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
