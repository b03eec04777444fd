"""Reading all content: how far it has come is kept, and how fast it goes is bounded."""

from __future__ import annotations

import asyncio
import threading
import time
from itertools import count as countup
from itertools import islice
from typing import TYPE_CHECKING, Any

import pytest

from cargohold.storage.filesystem import FilesystemStore
from cargohold.storage.filesystem.checking.check import Check, Wanted
from cargohold.storage.filesystem.checking.findings import Kind
from cargohold.storage.filesystem.checking.manifests import ManifestCheck
from cargohold.storage.filesystem.checking.reading import Rate, Reader
from cargohold.storage.filesystem.checking.verified import Progress, Verified
from cargohold.storage.filesystem.pace import ClosingError
from cargohold.types.digest import Digest

from .checking import FIRST, Place, write
from .contract.base import ONE, push
from .places import read_only_view

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cargohold.storage.filesystem.checking.findings import Finding
    from cargohold.types.names import RepositoryName

BLOBS = 40
LIMIT = 30.0


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path / "data")
    with made.opened() as store:
        for number in range(BLOBS):
            asyncio.run(push(store, ONE, f"blob {number}".encode()))
    made.age()
    return made


def in_order(place: Place) -> list[Digest]:
    """All content, as a check comes to it."""
    return sorted(
        Digest(f"sha256:{path.parent.name}")
        for path in place.root.glob("docker/registry/v2/blobs/*/*/*/data")
    )


def spoil(place: Place, digest: Digest) -> None:
    with open(place.layout.data(digest), "rb") as file:
        content = file.read()
    write(place.layout.data(digest), content[:-1] + bytes([content[-1] ^ 1]))


def kept(place: Place) -> Progress:
    found = Verified(place.layout).load()
    assert found is not None
    return found


def run(place: Place, **wanted: Any) -> tuple[Check, list[Digest]]:
    """A check that verifies, and the digests whose bytes it found wrong."""
    with place.opened() as store:
        check = Check(store, Wanted(verify=True, **wanted))
        return check, [Digest(each.digest) for each in check.run() if each.kind is Kind.WRONG_CONTENT]


def broken_off(place: Place) -> Check:
    """One that somebody interrupts when it tells of the first wrong bytes."""
    with place.opened() as store:
        check = Check(store, Wanted(verify=True))
        found = check.run()
        assert next(found).kind is Kind.WRONG_CONTENT
        found.close()
    return check


def blobs_of(place: Place) -> list[Digest]:
    """Those that are no manifest, which are read in any case."""
    return [each for each in in_order(place) if len(open_bytes(place, each)) < 20]


def open_bytes(place: Place, digest: Digest) -> bytes:
    with open(place.layout.data(digest), "rb") as file:
        return file.read()


def test_gone_on_with(place: Place) -> None:
    """What was verified before a check was broken off is not read again by the next, and the rest is."""
    blobs = blobs_of(place)
    middle, last = blobs[len(blobs) // 2], blobs[-1]
    spoil(place, middle)
    spoil(place, last)
    broken_off(place)
    progress = kept(place)
    assert progress.ended == 0
    assert progress.after < middle
    check, wrong = run(place, resume=True)
    assert wrong == [middle, last]
    assert check.looked.verified == sum(each > progress.after for each in in_order(place))
    assert kept(place).ended > 0
    assert kept(place).verified == len(in_order(place))


def test_begun_anew(place: Place) -> None:
    """Without being asked to go on, and after one that has come to its end, everything is read."""
    spoil(place, blobs_of(place)[-1])
    broken_off(place)
    for resume in (False, True, True):
        check, _ = run(place, resume=resume)
        assert check.looked.verified == len(in_order(place))
    assert kept(place).last > 0


def test_a_limit_of_time(place: Place) -> None:
    """When the time is over all but the first is left to the next one; links are looked at all the same."""
    write(place.layer(FIRST), b"")
    with place.opened() as store:
        check = Check(store, Wanted(verify=True, seconds=0.0))
        assert [each.kind for each in check.run()] == [Kind.BAD_LINK]
    assert not check.is_whole
    assert (check.looked.verified, check.looked.blobs) == (1, len(in_order(place)))
    assert kept(place).ended == 0
    check, _ = run(place, resume=True, seconds=LIMIT)
    assert check.is_whole
    assert check.looked.verified == len(in_order(place)) - 1
    assert kept(place).verified == len(in_order(place))


@pytest.mark.parametrize("jobs", [1, 4])
def test_each_run_comes_on(place: Place, jobs: int) -> None:
    """However short the time, and however many blobs are in one folder, a run reads at least one and keeps that."""
    with place.opened() as store:
        for content in of_one_folder(4):
            asyncio.run(push(store, ONE, content))
    digests = in_order(place)
    seen = [""]
    for _ in digests:
        check, _ = run(place, resume=True, seconds=0.0, jobs=jobs)
        if check.is_whole:
            break
        seen.append(kept(place).after)
    assert kept(place).ended > 0
    assert seen == ["", *digests[:-1]]
    assert kept(place).verified == len(digests)


def of_one_folder(count: int) -> list[bytes]:
    """Blobs whose digests begin with the same two figures."""
    return list(
        islice((each for each in (b"%d" % n for n in countup()) if Digest.of(each).hex[:2] == "00"), count)
    )


def test_a_rate_that_lets_nothing_be_read(place: Place) -> None:
    """A turn that comes after the time is over is not waited for."""
    check, _ = run(place, resume=True, seconds=1.0, rate=1)
    assert not check.is_whole
    assert kept(place).after == in_order(place)[0]


def test_the_time_begins_with_the_reading(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it takes to look at manifests before is not taken from the time for content."""
    slowly = ManifestCheck.contents

    def contents(self: ManifestCheck, repository: RepositoryName) -> Iterator[Finding]:
        time.sleep(1.0)
        return slowly(self, repository)

    monkeypatch.setattr(ManifestCheck, "contents", contents)
    check, _ = run(place, seconds=1.0)
    assert check.looked.verified > 1


def test_where_progress_cannot_be_kept(place: Place, tmp_path: Path) -> None:
    """It is known of a check that it could not write down how far it came."""
    with read_only_view(place.root, tmp_path / "view") as view:
        store = FilesystemStore(str(view))
        check = Check(store, Wanted(verify=True, resume=True, seconds=0.0))
        assert list(check.run()) == []
        store.close()
    assert (check.is_whole, check.is_kept) == (False, False)
    check, _ = run(place, resume=True, seconds=0.0)
    assert (check.is_whole, check.is_kept) == (False, True)


def test_what_is_kept_is_spoiled(place: Place) -> None:
    """Then everything is read."""
    run(place)
    (place.root / "cargohold/fsck/verified.json").write_bytes(b"rubbish")
    check, wrong = run(place, resume=True)
    assert wrong == []
    assert check.looked.verified == len(in_order(place))


def test_manifests_are_always_read(place: Place) -> None:
    """Also without being asked for, and also where content is verified by another."""
    manifest = next(each for each in in_order(place) if each not in blobs_of(place))
    spoil(place, manifest)
    assert Kind.WRONG_CONTENT in {each.kind for each in place.check()}


def test_rate() -> None:
    """What is over the rate waits for its turn, until somebody breaks it off."""
    closing, waits = threading.Event(), threading.Event()
    rate = Rate(1, closing.is_set)
    rate.take(1_000_000)

    def take() -> None:
        waits.set()
        with pytest.raises(ClosingError):
            rate.take(1)

    thread = threading.Thread(target=take)
    thread.start()
    assert waits.wait(LIMIT)
    thread.join(0.2)
    assert thread.is_alive()
    closing.set()
    thread.join(LIMIT)
    assert not thread.is_alive()


def test_no_rate(place: Place) -> None:
    """Without one nothing waits, whatever was read before."""
    reader = Reader(Rate(None, lambda: False))
    for digest in in_order(place):
        assert reader.reads(place.layout.data(digest), digest)
        assert reader.matches(place.layout.data(digest), digest)


def test_what_was_read_is_remembered_of_that_file_alone(place: Place) -> None:
    """A file that has changed is read again, whatever was found of the one before."""
    reader, digest, data = Reader(Rate(None, lambda: False)), Digest.of(FIRST), place.data(FIRST)
    assert reader.matches(data, digest)
    with open(data, "wb") as file:
        file.write(b"other")
    assert not reader.matches(data, digest)
