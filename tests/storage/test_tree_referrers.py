"""The record of what refers to what, beside a tree that another server writes to as well."""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING

import pytest

from cargohold.storage.filesystem import FilesystemStore
from cargohold.storage.lists import load_names, load_title
from cargohold.storage.proofs import Proof, stamp
from cargohold.types.digest import Algorithm, Digest

from .contract.base import ONE, OTHER, commit, descriptors, sample
from .foreign import Foreign, put

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator
    from pathlib import Path

SUBJECT = sample("subject")
FIRST = sample("first", SUBJECT.digest)
SECOND = sample("second", SUBJECT.digest)
BY_SHA512 = sample("third", SUBJECT.digest, Algorithm.SHA512)


pytestmark = pytest.mark.usefixtures("loop")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FilesystemStore]:
    made = FilesystemStore(str(tmp_path))
    made.prepare()
    yield made
    made.close()


@pytest.fixture
def second(store: FilesystemStore) -> Iterator[FilesystemStore]:
    """As another worker has it."""
    made = FilesystemStore(store.layout.root)
    yield made
    made.close()


@pytest.fixture
def foreign(store: FilesystemStore) -> Foreign:
    return Foreign(store.layout)


def _wait_until_proved(store: FilesystemStore) -> None:
    folder = f"{store.layout.revisions(ONE)}/sha256"
    end = time.monotonic() + 10
    while not Proof.of(folder).holds(stamp()):
        assert time.monotonic() < end
        time.sleep(0.01)


async def test_stored_by_another(store: FilesystemStore, foreign: Foreign) -> None:
    """What another server stored is listed with what we stored, in one order, at the first request."""
    foreign.push(ONE, FIRST)
    assert await store.list_referrers(ONE, SUBJECT.digest) == descriptors(SUBJECT.digest, [FIRST])
    await commit(store, ONE, SECOND)
    foreign.push(ONE, BY_SHA512)
    expected = descriptors(SUBJECT.digest, [FIRST, SECOND, BY_SHA512])
    assert await store.list_referrers(ONE, SUBJECT.digest) == expected
    assert await store.list_referrers(OTHER, SUBJECT.digest) == []
    assert await store.list_referrers(ONE, FIRST.digest) == []


@pytest.mark.parametrize("proved", [False, True])
async def test_stored_again(
    store: FilesystemStore, second: FilesystemStore, foreign: Foreign, proved: bool
) -> None:
    """One that was never listed before it was deleted is listed when it is stored again in its old folder."""
    foreign.push(ONE, SUBJECT)
    foreign.push(ONE, FIRST)
    foreign.delete(ONE, FIRST)
    if proved:
        _wait_until_proved(store)
    assert await store.list_referrers(ONE, SUBJECT.digest) == []
    times = os.stat(f"{store.layout.revisions(ONE)}/sha256")
    foreign.push(ONE, FIRST)
    assert os.stat(f"{store.layout.revisions(ONE)}/sha256").st_ctime_ns == times.st_ctime_ns
    for each in (second, store):
        assert await each.list_referrers(ONE, SUBJECT.digest) == descriptors(SUBJECT.digest, [FIRST])


async def test_stored_again_after_collection(
    store: FilesystemStore, second: FilesystemStore, foreign: Foreign
) -> None:
    """The same where the content was collected meanwhile, and there was nothing to record."""
    foreign.push(ONE, FIRST)
    foreign.delete(ONE, FIRST)
    foreign.collect(FIRST)
    _wait_until_proved(store)
    assert await store.list_referrers(ONE, SUBJECT.digest) == []
    assert load_title(store.layout.referrers_seen(ONE)) != ""
    assert await second.list_referrers(ONE, SUBJECT.digest) == []
    foreign.push(ONE, FIRST)
    for each in (second, store):
        assert await each.list_referrers(ONE, SUBJECT.digest) == descriptors(SUBJECT.digest, [FIRST])


async def test_half_stored(store: FilesystemStore, foreign: Foreign) -> None:
    """A referrer is listed from the moment its link is there, whichever of its parts came first."""
    os.makedirs(store.layout.revision(ONE, FIRST.digest))
    _wait_until_proved(store)
    assert await store.list_referrers(ONE, SUBJECT.digest) == []
    foreign.content(FIRST)
    assert await store.list_referrers(ONE, SUBJECT.digest) == []
    foreign.revision(ONE, FIRST.digest)
    assert await store.list_referrers(ONE, SUBJECT.digest) == descriptors(SUBJECT.digest, [FIRST])


async def test_content_comes_later(store: FilesystemStore, foreign: Foreign) -> None:
    """A link without its content lists nothing, and hides no other; it is listed when the content is restored."""
    foreign.revision(ONE, FIRST.digest)
    foreign.push(ONE, SECOND)
    _wait_until_proved(store)
    for _ in range(2):
        assert await store.list_referrers(ONE, SUBJECT.digest) == descriptors(SUBJECT.digest, [SECOND])
    foreign.content(FIRST)
    assert await store.list_referrers(ONE, SUBJECT.digest) == descriptors(SUBJECT.digest, [FIRST, SECOND])


async def test_damaged_content(store: FilesystemStore, foreign: Foreign) -> None:
    """Content that is not what its digest says makes no referrer, and hides no other."""
    foreign.push(ONE, FIRST)
    foreign.push(ONE, SECOND)
    put(store.layout.data(FIRST.digest), b" " + FIRST.manifest.content[1:])
    assert await store.list_referrers(ONE, SUBJECT.digest) == descriptors(SUBJECT.digest, [SECOND])
    foreign.content(FIRST)
    assert await store.list_referrers(ONE, SUBJECT.digest) == descriptors(SUBJECT.digest, [FIRST, SECOND])


async def test_strays(store: FilesystemStore, foreign: Foreign) -> None:
    """What is no digest among the revisions or the records, and a subject that is none, are passed over."""
    foreign.push(ONE, FIRST)
    revisions = f"{store.layout.revisions(ONE)}/sha256"
    for name in ("stray", "0" * 63, "A" * 64, "line\nbreak"):
        os.mkdir(f"{revisions}/{name}")
    put(f"{revisions}/file", b"")
    assert await store.list_referrers(ONE, SUBJECT.digest) == descriptors(SUBJECT.digest, [FIRST])
    put(f"{store.layout.referrers(ONE, SUBJECT.digest)}/stray", b"")
    assert await store.list_referrers(ONE, SUBJECT.digest) == descriptors(SUBJECT.digest, [FIRST])


async def test_deleted_and_stored_by_another(store: FilesystemStore, foreign: Foreign) -> None:
    """One that we recorded leaves the list with its link, and comes back with it."""
    await commit(store, ONE, FIRST)
    for _ in range(3):
        foreign.delete(ONE, FIRST)
        assert await store.list_referrers(ONE, SUBJECT.digest) == []
        foreign.push(ONE, FIRST)
        assert await store.list_referrers(ONE, SUBJECT.digest) == descriptors(SUBJECT.digest, [FIRST])


async def test_many(store: FilesystemStore, second: FilesystemStore, foreign: Foreign) -> None:
    """A thousand that another server stored are recorded at the first request, and not looked at again."""
    samples = [sample(f"referrer {number}", SUBJECT.digest) for number in range(1_000)]
    for each in samples:
        foreign.push(ONE, each)
    _wait_until_proved(store)
    expected = descriptors(SUBJECT.digest, samples)
    assert await store.list_referrers(ONE, SUBJECT.digest) == expected
    for each in samples:
        os.rename(store.layout.data(each.digest), f"{store.layout.data(each.digest)}.away")
    assert await second.list_referrers(ONE, SUBJECT.digest) == expected


@pytest.mark.parametrize("proved", [False, True])
async def test_record_thrown_away(store: FilesystemStore, proved: bool) -> None:
    """All that is ours in a repository may be removed: it is made again from the manifests."""
    await commit(store, ONE, FIRST)
    await commit(store, ONE, SECOND)
    for _ in range(2):
        if proved:
            _wait_until_proved(store)
        expected = descriptors(SUBJECT.digest, [FIRST, SECOND])
        assert await store.list_referrers(ONE, SUBJECT.digest) == expected
        shutil.rmtree(f"{store.layout.repository(ONE)}/_cargohold")
    assert await store.list_referrers(ONE, SUBJECT.digest) == expected


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 500, b"\n", b"00000000\n[[null], []]\nsha256-x", b"\xff\n\xff\n"]
)
async def test_spoiled_record(store: FilesystemStore, content: bytes) -> None:
    """A record of what was seen that a power cut has spoiled is made again."""
    await commit(store, ONE, FIRST)
    _wait_until_proved(store)
    seen = store.layout.referrers_seen(ONE)
    assert await store.list_referrers(ONE, SUBJECT.digest) == descriptors(SUBJECT.digest, [FIRST])
    put(seen, content)
    assert await store.list_referrers(ONE, SUBJECT.digest) == descriptors(SUBJECT.digest, [FIRST])
    title, names = load_names(seen)
    assert title
    assert names == [f"sha256-{FIRST.digest.hex}"]


async def test_unproved_is_not_trusted(store: FilesystemStore, foreign: Foreign) -> None:
    """Right after a change nothing is taken for seen: a hundred pushes by another server, each listed at once."""
    expected = []
    for number in range(100):
        expected.append(sample(f"referrer {number}", SUBJECT.digest))
        if number % 2:
            foreign.push(ONE, expected[-1])
        else:
            await commit(store, ONE, expected[-1])
        found = await store.list_referrers(ONE, SUBJECT.digest)
        assert found == descriptors(SUBJECT.digest, expected)


def test_no_subject_of_nothing(store: FilesystemStore, loop: asyncio.Runner) -> None:
    """A repository that there is not has no referrers, and asking makes nothing."""
    assert loop.run(store.list_referrers(ONE, Digest.of(b"unknown"))) == []
    assert not os.path.exists(store.layout.repository(ONE))
