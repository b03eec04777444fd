"""What a run of the collector takes away, and what it leaves, while nobody does anything else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cargohold.storage.filesystem.collection import content, empty
from cargohold.storage.filesystem.pace import ClosingError, Pace
from cargohold.storage.protocols import NotFound
from cargohold.types.digest import Algorithm, Digest
from cargohold.types.names import RepositoryName, Tag
from tests.collection.images import index

from .collecting import IMAGE, LAYER, STRAY, collect, contents, everywhere, make_old
from .contract.base import LATEST, ONE, OTHER, blob, commit, push, sample
from .foreign import put

if TYPE_CHECKING:
    from cargohold.storage.collecting import Collected
    from cargohold.storage.filesystem import FilesystemStore

pytestmark = pytest.mark.usefixtures("loop")


@pytest.fixture
def store(collectable: FilesystemStore) -> FilesystemStore:
    return collectable


def make_trash_old(store: FilesystemStore, repository: RepositoryName) -> None:
    """As if it had been deleted long ago: the time is in the name of a record."""
    folder = Path(store.layout.trash(repository))
    for record in folder.iterdir():
        record.rename(folder / f"2020{record.name[4:]}")


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
    put(f"{store.layout.trash(ONE)}/{record.replace('Z-', 'Z-0')[:-1]}", b"damaged")
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
