"""What the soak holds answers against: it must find what is wrong, and take nothing for wrong that may be."""

from __future__ import annotations

import pytest

from tests.soak.history import HERE, History, Key
from tests.soak.pool import Pool

POOL = Pool(1)
TAG = Key("tag", "a", "latest")
GRACE = 10.0
IMAGE = next(each for each in POOL.tagged if each.blobs)
INDEX = next(each for each in POOL.tagged if each.children)
REFERRER = POOL.loose[0]
MANIFEST = Key("manifest", "a", IMAGE.digest)
BLOB = Key("blob", "a", IMAGE.blobs[0])


@pytest.fixture
def history() -> History:
    return History(POOL, ["latest", "other"], GRACE)


def move(history: History, digest: str | None, start: float, end: float) -> None:
    """A push of a manifest with the tag, or the deletion of the tag, that was acknowledged."""
    changes: list[tuple[Key, str | None]] = [(TAG, digest)]
    if digest is not None:
        changes.append((Key("manifest", "a", digest), HERE))
        history.lease(Key("manifest", "a", digest), start, end)
    history.begin(start, *changes).acknowledge(end)


def upload(history: History, start: float, end: float) -> None:
    history.begin(start, (BLOB, HERE)).acknowledge(end)
    history.lease(BLOB, start, end)


def test_tags_one_after_the_other(history: History) -> None:
    """A tag has its last value alone; while it changes, the one before or after."""
    assert history.possible(TAG, 0, 1) == {None}
    move(history, "x", 1, 2)
    move(history, "y", 3, 4)
    assert history.possible(TAG, 2.1, 2.9) == {"x"}
    assert history.possible(TAG, 2.1, 3.5) == {"x", "y"}
    assert history.possible(TAG, 4.1, 5) == {"y"}


def test_tags_at_once(history: History) -> None:
    """Of two pushes at once either may be the last."""
    move(history, "x", 1, 3)
    move(history, "y", 2, 4)
    assert history.possible(TAG, 5, 6) == {"x", "y"}


def test_doubt(history: History) -> None:
    """A change that was not answered may have come about until the server died, and not later."""
    move(history, "x", 1, 2)
    doubted = history.begin(3, (TAG, "y"))
    assert history.possible(TAG, 9, 9) == {"x", "y"}
    doubted.doubt(5)
    assert history.possible(TAG, 9, 9) == {"x", "y"}
    move(history, "z", 6, 7)
    assert history.possible(TAG, 9, 9) == {"z"}


def test_refusal(history: History) -> None:
    """A change that was refused did nothing."""
    move(history, "x", 1, 2)
    history.begin(3, (TAG, "y")).refuse()
    assert history.possible(TAG, 3.5, 9) == {"x"}


def test_deletion_by_digest(history: History) -> None:
    """It takes the tags that point to the manifest with it, and no other."""
    move(history, "x", 1, 2)
    history.begin_deletion(3, "a", "x").acknowledge(4)
    assert history.possible(TAG, 5, 6) == {None}
    move(history, "y", 7, 8)
    history.begin_deletion(9, "a", "x").acknowledge(10)
    assert history.possible(TAG, 11, 12) == {"y"}


def test_deletion_during_a_push(history: History) -> None:
    """A deletion by digest that meets the push of a tag may come before or after it."""
    push = history.begin(1, (TAG, "x"))
    history.begin_deletion(2, "a", "x").acknowledge(3)
    push.acknowledge(4)
    assert history.possible(TAG, 5, 6) == {None, "x"}


def test_promise(history: History) -> None:
    """What was pushed must be there for the grace time, and then where something holds it."""
    assert not history.must_be_here(BLOB, 0, 0)
    upload(history, 1, 2)
    assert history.must_be_here(BLOB, 3, 10.9)
    assert not history.must_be_here(BLOB, 3, 11.1)
    history.lease(BLOB, 5, 6)
    assert history.must_be_here(BLOB, 3, 14.9)
    move(history, IMAGE.digest, 6, 7)
    assert history.must_be_here(BLOB, 1000, 1001)
    assert history.must_be_here(MANIFEST, 1000, 1001)


def test_promised_meanwhile(history: History) -> None:
    """Who began to look before it was promised may have looked before that, when the last promise was over."""
    upload(history, 1, 2)
    upload(history, 20, 22)
    for start in (3, 12, 21.9):
        assert not history.must_be_here(BLOB, start, 23)
    assert history.must_be_here(BLOB, 22, 23)
    assert history.must_be_here(BLOB, 3, 10)


def test_nothing_holds_it(history: History) -> None:
    """What a tag has led to may go when the tag leads elsewhere, or is just being moved."""
    upload(history, 1, 2)
    move(history, IMAGE.digest, 3, 4)
    moved = history.begin(100, (TAG, "x"))
    assert history.must_be_here(BLOB, 98, 99)
    assert not history.must_be_here(BLOB, 98, 101)
    moved.acknowledge(102)
    assert not history.must_be_here(BLOB, 103, 104)


def test_deletion_of_a_blob(history: History) -> None:
    """A blob that somebody deleted need not be there, whatever was promised or holds it, until it is pushed again."""
    upload(history, 1, 2)
    move(history, IMAGE.digest, 3, 4)
    history.begin(5, (BLOB, None)).acknowledge(6)
    assert not history.must_be_here(BLOB, 7, 8)
    upload(history, 9, 10)
    assert history.must_be_here(BLOB, 100, 101)


def test_children(history: History) -> None:
    """An index holds its images, and they hold their blobs, in its own repository."""
    child = Key("manifest", "a", INDEX.children[0])
    blob = Key("blob", "a", POOL.documents[INDEX.children[0]].blobs[0])
    for key in (child, blob):
        history.begin(1, (key, HERE)).acknowledge(2)
    assert not history.must_be_here(child, 100, 101)
    move(history, INDEX.digest, 3, 4)
    assert history.must_be_here(child, 100, 101)
    assert history.must_be_here(blob, 100, 101)
    assert not history.must_be_here(Key("manifest", "b", INDEX.children[0]), 100, 101)


def test_referrers(history: History) -> None:
    """A referrer must be there as long as the subject, to which a tag led before it came and does now."""
    referrer = Key("manifest", "a", REFERRER.digest)
    assert REFERRER.subject is not None
    move(history, REFERRER.subject, 1, 2)
    history.begin(3, (referrer, HERE)).acknowledge(4)
    assert history.must_be_here(referrer, 100, 101)
    move(history, "x", 102, 103)
    assert not history.must_be_here(referrer, 104, 105)
    move(history, REFERRER.subject, 106, 107)
    assert not history.must_be_here(referrer, 108, 109)
    history.begin(110, (referrer, HERE)).acknowledge(111)
    assert history.must_be_here(referrer, 1000, 1001)


def test_seen(history: History) -> None:
    """What was in doubt and is seen is there."""
    history.begin(1, (BLOB, HERE)).doubt(2)
    history.lease(BLOB, 3, 3)
    assert not history.must_be_here(BLOB, 4, 5)
    history.see(BLOB, 3, 4)
    assert history.must_be_here(BLOB, 5, 6)


def test_long_histories(history: History) -> None:
    """What is forgotten of hundreds of changes changes nothing of what is told of the present."""
    for number in range(500):
        move(history, f"x{number % 7}", 2 * number, 2 * number + 1)
        history.begin_deletion(2 * number + 0.5, "a", "x8").acknowledge(2 * number + 1.5)
    assert history.possible(TAG, 1_000, 1_001) == {f"x{499 % 7}"}
    assert len(history._registers[TAG]._changes) < 300
