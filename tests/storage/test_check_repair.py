"""What repair does, and what it must not do."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from typing import TYPE_CHECKING

import pytest

from cargohold.storage.filesystem import FilesystemStore
from cargohold.storage.filesystem.checking.check import Check, Wanted
from cargohold.storage.filesystem.checking.findings import Finding, Kind, Outcome, Remedy
from cargohold.storage.layout import flat
from cargohold.storage.locks import open_lock, try_lock
from cargohold.storage.protocols import Conflict
from cargohold.types.digest import Algorithm, Digest
from cargohold.types.oci import parse_manifest

from .checking import FIRST, NEEDLESS, SECOND, SIGNATURE, TWO, A, Place, write
from .contract.base import ONE, Sample, commit, push, sample
from .foreign import put
from .places import read_only_view

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "data")


def only(findings: list[Finding], kind: Kind) -> Finding:
    """The one finding of a kind."""
    (found,) = [each for each in findings if each.kind is kind]
    return found


def lose(place: Place, content: bytes, to: str) -> None:
    """Move a blob to somewhere else."""
    os.makedirs(os.path.dirname(to), exist_ok=True)
    os.rename(os.path.dirname(place.data(content)), to)


def swept(place: Place, content: bytes) -> str:
    return f"{place.layout.swept}/{flat(Digest.of(content))}"


def totals(place: Place) -> tuple[int, int]:
    with place.opened() as store:
        found = asyncio.run(store.totals())
    assert found is not None
    return found.content, found.repositories


def test_a_damaged_blob_can_be_pushed_again(place: Place) -> None:
    """Before the repair a client is told that the blob is there; after it one push heals all images everywhere."""
    write(place.data(FIRST), b"tsrif")
    before = totals(place)
    with place.opened() as store:
        asyncio.run(push(store, ONE, FIRST))
    assert place.blob(FIRST) == b"tsrif"
    place.age()
    place.check(repair=True, verify=True)
    assert (place.blob(FIRST), place.blob(FIRST, TWO)) == (None, None)
    with place.opened() as store:
        asyncio.run(push(store, ONE, FIRST))
    assert (place.blob(FIRST), place.blob(FIRST, TWO)) == (FIRST, FIRST)
    assert place.check(verify=True) == []
    assert totals(place) == before


def test_what_was_swept_comes_back(place: Place) -> None:
    """Content that was collected a moment ago, and is missed, is put back; the images never change."""
    lose(place, FIRST, swept(place, FIRST))
    assert {each.remedy for each in place.check() if each.kind is Kind.MISSING_BLOB} == {Remedy.RESTORE}
    found = place.check(repair=True)
    assert Outcome.RESTORED in {each.outcome for each in found}
    assert Outcome.QUARANTINED not in {each.outcome for each in found}
    assert (place.blob(FIRST), place.blob(FIRST, TWO)) == (FIRST, FIRST)
    assert place.check(verify=True) == []


def test_what_is_in_the_quarantine_comes_back(place: Place) -> None:
    """A manifest that was taken out, and whose bytes are right after all, is put back before its tags are taken out."""
    before = place.data(A).replace(str(place.root), f"{place.layout.quarantine}/earlier")
    os.makedirs(os.path.dirname(os.path.dirname(before)))
    os.rename(os.path.dirname(place.data(A)), os.path.dirname(before))
    place.check(repair=True)
    assert place.tag("a") == A.digest
    assert place.manifest(A) == place.manifest(A, TWO) == A.manifest.content
    assert place.check(verify=True) == []


def test_a_copy_with_other_bytes_does_not_come_back(place: Place) -> None:
    """What is taken for a copy is read before it is trusted."""
    lose(place, FIRST, swept(place, FIRST))
    write(f"{swept(place, FIRST)}/data", b"tsrif")
    place.check(repair=True)
    assert place.blob(FIRST) is None
    assert os.path.exists(f"{swept(place, FIRST)}/data")


def test_a_wrong_blob_makes_way_for_a_right_copy(place: Place) -> None:
    """The wrong bytes go to the quarantine, the right ones take their place."""
    put(f"{swept(place, FIRST)}/data", FIRST)
    write(place.data(FIRST), b"tsrif")
    found = only(place.check(repair=True, verify=True), Kind.WRONG_CONTENT)
    assert found.outcome is Outcome.RESTORED
    assert (place.root / found.place / "data").read_bytes() == b"tsrif"
    assert place.blob(FIRST) == FIRST
    assert place.check(verify=True) == []


def sha512_image() -> Sample:
    """An image whose layer is named by its SHA-512."""
    layer = Digest.of(b"long", Algorithm.SHA512)
    made = sample("long")
    content = made.manifest.content.replace(Digest.of(b"long").encode(), layer.encode())
    return Sample(Digest.of(content), parse_manifest(content, made.manifest.media_type))


def test_content_under_another_digest(place: Place) -> None:
    """What Distribution keeps under SHA-256, and links by SHA-512 elsewhere, is linked here too."""
    image, long, short = sha512_image(), Digest.of(b"long", Algorithm.SHA512), Digest.of(b"long")
    with place.opened() as store:
        asyncio.run(push(store, TWO, b"long"))
        asyncio.run(commit(store, ONE, image))
    put(f"{place.layout.layer(TWO, long)}/link", short.encode())
    place.check(repair=True)
    for digest in (long, short):
        with open(f"{place.layout.layer(ONE, digest)}/link", "rb") as file:
            assert file.read() == short.encode()
    assert place.check() == []


def test_what_is_linked_is_leased(place: Place) -> None:
    """A collector that has looked at the links before does not take the content for unused."""
    shutil.rmtree(os.path.dirname(place.layer(FIRST)))
    folder = os.path.dirname(place.data(FIRST))
    assert time.time() - os.stat(folder).st_mtime > 3600
    place.check(repair=True)
    assert time.time() - os.stat(folder).st_mtime < 3600
    assert place.blob(FIRST) == FIRST


@pytest.mark.parametrize("young", ["link", "folder"])
def test_what_is_young_is_left_alone(place: Place, young: str) -> None:
    """What somebody has just put there, or asked for, is told and neither moved nor removed."""
    place.link_nothing(ONE, TWO)
    link = place.layer(NEEDLESS)
    os.utime(link if young == "link" else os.path.dirname(link))
    found = [each for each in place.check(repair=True) if each.kind is Kind.DANGLING_LINK]
    assert {each.repository: each.outcome for each in found} == {
        ONE: Outcome.YOUNG,
        TWO: Outcome.QUARANTINED,
    }
    assert os.path.exists(link)
    assert only(place.check(repair=True, min_age=0.0), Kind.DANGLING_LINK).outcome is Outcome.QUARANTINED


def test_the_quarantine_can_be_put_back(place: Place) -> None:
    """What lies in it lies as it lay in the tree, so a copy of it onto the root undoes the repair."""
    write(place.data(FIRST), b"tsrif")
    before = place.check(verify=True)
    place.check(verify=True, repair=True)
    assert place.check(verify=True) != before
    (taken,) = (place.root / "cargohold/quarantine").iterdir()
    shutil.copytree(taken / "docker", place.root / "docker", dirs_exist_ok=True)
    assert [each for each in place.check(verify=True) if each.kind is not Kind.WRONG_TOTALS] == before


def test_sparse_images(place: Place) -> None:
    """Where images may lack blobs, to name one does not give it; one that was linked and is lost is told as lost."""
    with place.opened() as store:
        asyncio.run(push(store, TWO, b"secret"))
        asyncio.run(commit(store, ONE, sample("secret")))
        asyncio.run(commit(store, ONE, sample("elsewhere")))
    shutil.rmtree(os.path.dirname(place.data(SECOND)))
    found = place.check(repair=True, sparse=True)
    told = {each.digest: each.kind for each in found if each.repository == ONE and each.manifest}
    assert told == {
        Digest.of(b"secret"): Kind.SPARSE,
        Digest.of(b"elsewhere"): Kind.SPARSE,
        Digest.of(SECOND): Kind.MISSING_BLOB,
    }
    assert place.blob(b"secret") is None
    assert place.blob(b"secret", TWO) == b"secret"


def test_layers_that_need_not_be_there(place: Place) -> None:
    """Non-distributable layers are not missed."""
    content = A.manifest.content.replace(
        b"text/plain", b"application/vnd.oci.image.layer.nondistributable.v1.tar"
    ).replace(Digest.of(FIRST).encode(), Digest.of(b"elsewhere").encode())
    image = Sample(Digest.of(content), parse_manifest(content, A.manifest.media_type))
    with place.opened() as store:
        asyncio.run(commit(store, ONE, image))
    assert place.check() == []


def test_a_manifest_of_no_known_form(place: Place) -> None:
    """Bytes that are those of their digest are what was pushed: they are left, and told as harmless."""
    odd = b"<manifest/>"
    put(place.data(odd), odd)
    put(f"{place.layout.revision(ONE, Digest.of(odd))}/link", Digest.of(odd).encode())
    found = only(place.check(repair=True), Kind.ODD_MANIFEST)
    assert (found.outcome, found.digest) == (Outcome.LEFT, Digest.of(odd))
    assert os.path.exists(place.data(odd))


def test_what_cannot_be_read(place: Place) -> None:
    """It is told, and nothing else is done: tomorrow the disk may be there again."""
    os.unlink(place.data(FIRST))
    os.mkdir(place.data(FIRST))
    place.age()
    found = place.check(repair=True, verify=True)
    assert only(found, Kind.UNREADABLE).digest == Digest.of(FIRST)
    assert os.path.isdir(place.data(FIRST))


def test_a_disk_that_is_not_mounted(place: Place) -> None:
    """Where all content is gone nothing is repaired: every link of the tree would be taken out."""
    os.rename(place.layout.blobs, f"{place.root}/elsewhere")
    os.mkdir(place.layout.blobs)
    with pytest.raises(Conflict, match="is a disk missing"):
        place.check(repair=True)
    os.rmdir(place.layout.blobs)
    os.rename(f"{place.root}/elsewhere", place.layout.blobs)
    assert place.check() == []


def test_one_at_a_time(place: Place) -> None:
    """A second one that repairs or verifies is refused; one that only looks is not."""
    descriptor = open_lock(f"{place.layout.locks}/fsck")
    try:
        assert try_lock(descriptor)
        for wanted in ({"repair": True}, {"verify": True}):
            with pytest.raises(Conflict, match="another fsck"):
                place.check(**wanted)
        assert place.check() == []
    finally:
        os.close(descriptor)


def test_leftovers(place: Place) -> None:
    """What was half made is removed once it is old; what was just made stays."""
    put(f"{place.layout.new}/half/data", b"half")
    put(f"{place.layout.own}/totals.new", b"half")
    assert place.check(repair=True) == []
    found = place.check(repair=True, min_age=0.0)
    assert {each.path for each in found} == {"cargohold/new/half", "cargohold/totals.new"}
    assert {each.outcome for each in found} == {Outcome.REMOVED}
    assert place.check(min_age=0.0) == []


def test_totals_that_are_off(place: Place) -> None:
    """They are told where nothing changed meanwhile, and counted anew."""
    right = totals(place)
    put(f"{place.layout.blob(Digest.of(b'more'))}/data", b"more")
    found = only(place.check(), Kind.WRONG_TOTALS)
    assert f"{right[0]} bytes" in found.note
    assert only(place.check(repair=True), Kind.WRONG_TOTALS).outcome is Outcome.RECOUNTED
    assert totals(place) == (right[0] + 4, right[1])
    assert place.check() == []


def test_patterns(place: Place) -> None:
    """Only the repositories that are asked for are looked at, and of content only theirs is read."""
    shutil.rmtree(os.path.dirname(place.layer(FIRST)))
    with place.opened() as store:
        asyncio.run(push(store, ONE, b"only here"))
    write(place.data(b"only here"), b"other bit")
    place.age()
    assert place.kinds(matches=TWO.__eq__, verify=True) == {}
    assert place.kinds(matches=ONE.__eq__, verify=True) == {
        Kind.UNLINKED_BLOB.value: 1,
        Kind.WRONG_CONTENT.value: 1,
    }


def test_a_tree_that_cannot_be_written_to(place: Place, tmp_path: Path) -> None:
    """A copy, or a snapshot, is checked as it is, bytes and all."""
    write(place.data(FIRST), b"tsrif")
    with read_only_view(place.root, tmp_path / "view") as view:
        store = FilesystemStore(str(view))
        found = list(Check(store, Wanted(verify=True)).run())
        store.close()
    assert {each.kind for each in found} == {Kind.WRONG_CONTENT, Kind.DAMAGED_BLOB}


def test_a_manifest_that_names_another_size(place: Place) -> None:
    """Where the bytes of a blob are those of its digest, they stay: it is the manifest that cannot be used."""
    content = A.manifest.content.replace(b'"size": 5', b'"size": 6')
    image = Sample(Digest.of(content), parse_manifest(content, A.manifest.media_type))
    with place.opened() as store:
        asyncio.run(commit(store, ONE, image))
    for repair in (False, True):
        (found,) = place.check(repair=repair)
        assert (found.kind, found.manifest, found.digest) == (Kind.WRONG_SIZE, image.digest, Digest.of(FIRST))
        assert found.note == "it has 5 bytes, the manifest says 6"
    assert place.blob(FIRST) == FIRST


def test_which_images_are_hurt(place: Place) -> None:
    """Before and after the repair each image is told, by its tag, that has lost a layer to wrong bytes."""
    write(place.data(FIRST), b"tsrif")
    for repair, kind in ((False, Kind.DAMAGED_BLOB), (True, Kind.MISSING_BLOB)):
        found = [each for each in place.check(verify=True, repair=repair) if each.kind is kind]
        assert {(each.repository, each.tag, each.manifest) for each in found} == {
            (repository, "a", A.digest) for repository in (ONE, TWO)
        }


def test_a_signature_is_listed_again(place: Place) -> None:
    """A referrer whose record was lost is found by clients again."""
    place.keep_lists()
    shutil.rmtree(place.layout.referrers(ONE, A.digest))
    with place.opened() as store:
        assert asyncio.run(store.list_referrers(ONE, A.digest)) == []
    place.check(repair=True)
    with place.opened() as store:
        (found,) = asyncio.run(store.list_referrers(ONE, A.digest))
    assert SIGNATURE.digest.encode() in found
