"""Retention on a real tree: what is removed, and what becomes of it."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

import pytest

from cargohold.registry.retention import Rule, Rules, apply
from cargohold.storage.filesystem import FilesystemStore
from cargohold.storage.filesystem.deletion import Asked
from cargohold.storage.filesystem.keeping import FileKeeper
from cargohold.storage.filesystem.leases import Terms
from cargohold.storage.filesystem.pace import Pace
from cargohold.storage.filesystem.tree import exists, read_file
from cargohold.storage.layout import flat
from cargohold.storage.protocols import StoreError, Unreadable
from cargohold.storage.trash import DELETED, Record, Why
from cargohold.types.names import RepositoryName, Tag
from cargohold.types.oci import OCI_INDEX, parse_manifest

from .contract.base import LATEST, ONE, OTHER, Sample, commit, document, sample, tags_of, target
from .foreign import put

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cargohold.storage.keeping import TagState
    from cargohold.types.digest import Digest

pytestmark = pytest.mark.usefixtures("loop")

HOUR = 3600.0
AGE = 60.0
OLD, NEW = Tag("old"), Tag("new")
FIRST, SECOND, THIRD = sample("first"), sample("second"), sample("third")
NEWEST = Rules([Rule("library/**", newest=1)])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FilesystemStore]:
    made = FilesystemStore(str(tmp_path / "data"), Terms(grace=AGE))
    made.prepare()
    yield made
    made.close()


class Keeping(FileKeeper):
    """A keeper that does what the test says just before it removes anything."""

    def __init__(self, store: FilesystemStore) -> None:
        super().__init__(store, Pace(lambda: False, 1.0))
        self.before_removal: Callable[[], None] = lambda: None

    def remove_manifest(self, repository: RepositoryName, digest: Digest, *, state: int, age: float) -> None:
        self.before_removal()
        super().remove_manifest(repository, digest, state=state, age=age)

    def remove_tag(self, repository: RepositoryName, found: TagState) -> bool:
        self.before_removal()
        return super().remove_tag(repository, found)


async def pushed(store: FilesystemStore, of: Sample, *tags: Tag, ago: float = HOUR) -> None:
    """A manifest that was pushed by these tags so long ago, and that nobody has asked for since."""
    await commit(store, ONE, of, *tags)
    for path in (
        store.layout.revision(ONE, of.digest),
        f"{store.layout.revision(ONE, of.digest)}/link",
        *(store.layout.tag_current(ONE, tag) for tag in tags),
    ):
        set_back(path, ago)


def set_back(path: str, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def applied(keeper: FileKeeper, rules: Rules = NEWEST, *, is_dry: bool = False) -> dict[str, bool]:
    """Which tags of ONE are kept."""

    def fail(_repository: RepositoryName, error: StoreError) -> None:
        raise error

    decisions = list(apply(keeper, rules, now=time.time(), age=AGE, failed=fail, is_dry=is_dry))
    assert {decision.repository for decision in decisions} <= {ONE}
    return {decision.state.tag: decision.kept for decision in decisions}


def trashed(store: FilesystemStore) -> list[tuple[Digest, tuple[Tag, ...], bool, Why]]:
    def fail(path: str, reason: str) -> None:
        raise AssertionError(path, reason)

    records = store.records(ONE, fail)
    return [(record.digest, record.tags, record.whole, record.cause.why) for record in records]


async def test_tags_and_their_times(store: FilesystemStore) -> None:
    """Each tag has what it points to, its push, and the last pull of its manifest by any name; a half made one none."""
    keeper = Keeping(store)
    assert keeper.tag_states(ONE) == []
    await pushed(store, FIRST, OLD, NEW)
    await store.note_pull(ONE, FIRST.digest)
    await commit(store, ONE, SECOND, LATEST)
    os.makedirs(f"{store.layout.tags(ONE)}/half/index")
    states = {state.tag: state for state in keeper.tag_states(ONE)}
    assert {tag: state.digest for tag, state in states.items()} == {
        OLD: FIRST.digest,
        NEW: FIRST.digest,
        LATEST: SECOND.digest,
    }
    now = time.time()
    assert states[OLD].pushed == pytest.approx(now - HOUR, abs=60)
    assert states[LATEST].pushed == pytest.approx(now, abs=60)
    assert states[OLD].pulled == states[NEW].pulled == pytest.approx(now, abs=60)
    assert states[LATEST].pulled is None
    assert list(keeper.repositories()) == [ONE]


async def test_a_push_of_the_same_counts(store: FilesystemStore) -> None:
    """Whoever pushes again what a tag points to already has pushed it: its time is that of the last push."""
    await pushed(store, FIRST, OLD)
    await commit(store, ONE, FIRST, OLD)
    (state,) = Keeping(store).tag_states(ONE)
    assert state.pushed == pytest.approx(time.time(), abs=60)


async def test_a_manifest_goes_with_its_last_tag(store: FilesystemStore) -> None:
    """What loses its last tag is deleted with it, in one record of the trash; what has another tag left is not."""
    await pushed(store, FIRST, OLD, Tag("older"), ago=2 * HOUR)
    await pushed(store, SECOND, LATEST, ago=HOUR)
    await store.commit_manifest(ONE, SECOND.digest, SECOND.manifest, [NEW])
    keeper = Keeping(store)
    assert applied(keeper, is_dry=True) == {NEW: True, LATEST: False, OLD: False, "older": False}
    assert await tags_of(store, ONE) == [LATEST, NEW, OLD, "older"]
    assert applied(keeper) == {NEW: True, LATEST: False, OLD: False, "older": False}
    assert await tags_of(store, ONE) == [NEW]
    assert await document(store, ONE, FIRST.digest) is None
    assert await document(store, ONE, SECOND.digest) is not None
    assert sorted(trashed(store), key=lambda each: each[2]) == [
        (SECOND.digest, (LATEST,), False, Why.RETENTION),
        (FIRST.digest, (OLD, Tag("older")), True, Why.RETENTION),
    ]
    assert applied(keeper) == {NEW: True}


async def test_manifests_stay_where_the_rule_says_so(store: FilesystemStore) -> None:
    """Where a rule does not collect what has no tag, tags alone are removed."""
    await pushed(store, FIRST, OLD)
    await pushed(store, SECOND, NEW, ago=0)
    assert applied(Keeping(store), Rules([Rule("**", newest=1, untagged=False)])) == {NEW: True, OLD: False}
    assert await document(store, ONE, FIRST.digest) is not None
    assert trashed(store) == [(FIRST.digest, (OLD,), False, Why.RETENTION)]


async def test_what_an_index_has_stays(store: FilesystemStore) -> None:
    """A manifest that a kept one refers to loses its tag alone."""
    await pushed(store, FIRST, OLD)
    content = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": [
                {
                    "mediaType": FIRST.manifest.media_type,
                    "digest": FIRST.digest,
                    "size": len(FIRST.manifest.content),
                }
            ],
        }
    ).encode()
    manifest = parse_manifest(content, OCI_INDEX)
    index = Sample(FIRST.digest.of(content), manifest)
    await commit(store, ONE, index, NEW)
    set_back(store.layout.revision(ONE, FIRST.digest), HOUR)
    assert applied(Keeping(store)) == {NEW: True, OLD: False}
    assert await document(store, ONE, FIRST.digest) is not None
    assert await target(store, ONE, OLD) is None


async def test_what_refers_to_a_kept_one_stays(store: FilesystemStore) -> None:
    """A signature whose subject is kept loses its tag alone; with its subject it goes by and by."""
    await pushed(store, FIRST, NEW, ago=0)
    signature = sample("signature", subject=FIRST.digest)
    await pushed(store, signature, OLD)
    assert applied(Keeping(store)) == {NEW: True, OLD: False}
    assert await document(store, ONE, signature.digest) is not None


async def test_what_is_leased_stays(store: FilesystemStore) -> None:
    """A manifest that somebody was just told exists, and who may push an index of it, loses its tag alone."""
    await pushed(store, FIRST, OLD)
    await pushed(store, SECOND, NEW, ago=0)
    await store.lease_manifest(ONE, FIRST.digest)
    assert applied(Keeping(store)) == {NEW: True, OLD: False}
    assert await document(store, ONE, FIRST.digest) is not None
    assert trashed(store) == [(FIRST.digest, (OLD,), False, Why.RETENTION)]


@pytest.mark.parametrize("moved", [True, False])
async def test_what_is_pushed_meanwhile_is_kept(store: FilesystemStore, *, moved: bool) -> None:
    """A tag that is moved, or pushed again as it is, between the plan and its removal is kept; others are removed."""
    await pushed(store, FIRST, OLD, ago=2 * HOUR)
    await pushed(store, SECOND, LATEST, ago=3 * HOUR)
    await pushed(store, THIRD, NEW, ago=0)
    keeper = Keeping(store)
    link = store.layout.tag_current(ONE, OLD)

    def push_once() -> None:
        if keeper.before_removal is push_once:
            keeper.before_removal = lambda: None
            with store.locks.hold(ONE):
                store.note_change(ONE)
                put(link, (THIRD if moved else FIRST).digest.encode())

    keeper.before_removal = push_once
    assert applied(keeper) == {NEW: True, OLD: True, LATEST: False}
    assert await target(store, ONE, OLD) == (THIRD if moved else FIRST).digest
    assert await document(store, ONE, FIRST.digest) is not None
    assert trashed(store) == [(SECOND.digest, (LATEST,), False, Why.RETENTION)]


async def test_what_is_pulled_meanwhile_is_kept(store: FilesystemStore) -> None:
    """A tag whose manifest is pulled for the first time in long, between the plan and its removal, is kept."""
    await pushed(store, FIRST, OLD)
    await pushed(store, SECOND, NEW, ago=0)
    keeper = Keeping(store)
    keeper.before_removal = lambda: store._note_pull(ONE, FIRST.digest)
    assert applied(keeper, Rules([Rule("**", newest=1, untagged=False)])) == {NEW: True, OLD: True}
    assert await target(store, ONE, OLD) == FIRST.digest


async def test_what_another_removes_meanwhile(store: FilesystemStore) -> None:
    """A tag that is gone when it is to be removed is told as removed."""
    await pushed(store, FIRST, OLD)
    await pushed(store, SECOND, NEW, ago=0)
    keeper = Keeping(store)

    def remove_first() -> None:
        keeper.before_removal = lambda: None
        (record,) = store.announce(ONE, [Asked(FIRST.digest, DELETED)])
        assert isinstance(record, Record)
        store.remove_manifest(ONE, record, lambda: None, 1.0)

    keeper.before_removal = remove_first
    assert applied(keeper) == {NEW: True, OLD: False}


async def test_a_repository_that_cannot_be_read(store: FilesystemStore) -> None:
    """Where a manifest cannot be read nobody knows what it needs: nothing is removed, and that is told."""
    await pushed(store, FIRST, OLD)
    await pushed(store, SECOND, NEW, ago=0)
    put(store.layout.data(SECOND.digest), b"damaged")
    with pytest.raises(Unreadable):
        applied(Keeping(store))
    assert await tags_of(store, ONE) == [NEW, OLD]
    assert trashed(store) == []


async def test_other_repositories_are_left_alone(store: FilesystemStore) -> None:
    """Where no rule decides nothing is removed; times of pulls are dropped with their manifests."""
    await pushed(store, FIRST, OLD)
    await pushed(store, SECOND, NEW, ago=0)
    assert applied(Keeping(store), Rules([Rule(OTHER, newest=1)])) == {}
    await store.note_pull(ONE, FIRST.digest)
    await store.note_pull(ONE, SECOND.digest)
    assert applied(Keeping(store)) == {NEW: True, OLD: False}
    assert (store.pulled_at(ONE, FIRST.digest), store.pulled_at(ONE, SECOND.digest) is None) == (None, False)


async def test_a_repository_by_two_names(store: FilesystemStore) -> None:
    """A repository that a symbolic link leads to has two locks: it is passed over under either name."""
    await pushed(store, FIRST, OLD)
    os.symlink(store.layout.repository(ONE), store.layout.repository(RepositoryName("library/linked")))
    await commit(store, OTHER, FIRST, OLD)
    assert list(Keeping(store).repositories()) == [OTHER]


async def test_what_cannot_be_done_is_told(store: FilesystemStore) -> None:
    """A repository in which something is in the way is told of; in the others all is done; what is not chosen stays."""
    for repository in (ONE, OTHER):
        await commit(store, repository, FIRST, OLD)
        await commit(store, repository, SECOND, NEW)
        set_back(store.layout.tag_current(repository, OLD), HOUR)
    put(store.layout.data(sample("third").digest), b"damaged")
    put(f"{store.layout.revision(OTHER, THIRD.digest)}/link", THIRD.digest.encode())
    failures: dict[RepositoryName, StoreError] = {}
    keeper = Keeping(store)

    def done(chosen: RepositoryName) -> list[tuple[RepositoryName, Tag, bool]]:
        found = apply(
            keeper,
            NEWEST,
            now=time.time(),
            age=AGE,
            failed=failures.__setitem__,
            chosen=lambda name: name == chosen,
        )
        return [(decision.repository, decision.state.tag, decision.kept) for decision in found]

    assert done(OTHER) == []
    assert await tags_of(store, OTHER) == [NEW, OLD]
    assert await tags_of(store, ONE) == [NEW, OLD]
    assert [(name, type(error)) for name, error in failures.items()] == [(OTHER, Unreadable)]
    assert done(ONE) == [(ONE, NEW, True), (ONE, OLD, False)]
    assert await tags_of(store, ONE) == [NEW]
    assert list(failures) == [OTHER]


async def test_many_go_at_once(store: FilesystemStore) -> None:
    """Each of several manifests that lose their last tags goes with them, by one record each."""
    samples = [sample(f"old {number}") for number in range(5)]
    for number, each in enumerate(samples):
        await pushed(store, each, Tag(f"t{number}"), Tag(f"u{number}"), ago=(2 + number) * HOUR)
    await pushed(store, SECOND, NEW, ago=0)
    assert [tag for tag, kept in applied(Keeping(store)).items() if kept] == [NEW]
    assert sorted(digest for digest, tags, whole, _ in trashed(store) if whole and len(tags) == 2) == sorted(
        each.digest for each in samples
    )
    assert len(trashed(store)) == 5


async def test_what_is_leased_meanwhile_stays(store: FilesystemStore) -> None:
    """A manifest of which somebody is told that it is there, just before it is removed, loses its tag alone."""
    await pushed(store, FIRST, OLD)
    await pushed(store, SECOND, NEW, ago=0)
    keeper = Keeping(store)
    keeper.before_removal = lambda: store.lease_link(ONE, store.layout.revision(ONE, FIRST.digest))
    assert applied(keeper) == {NEW: True, OLD: False}
    assert await document(store, ONE, FIRST.digest) is not None
    assert trashed(store) == [(FIRST.digest, (OLD,), False, Why.RETENTION)]


async def test_pulls_count_from_the_first_look(store: FilesystemStore) -> None:
    """Where pulls are to be kept, the first run begins the record of a repository; a dry run begins nothing."""
    rules = Rules([Rule("library/**", pulled_within=60)])
    store.record_pulls(rules.recorded)
    set_since(store.layout.pulls, "library/**", HOUR)
    await pushed(store, FIRST, OLD)
    begun = f"{store.layout.pulled(ONE)}/since"
    assert applied(Keeping(store), rules, is_dry=True) == {OLD: True}
    assert not exists(begun)
    assert applied(Keeping(store), rules) == {OLD: True}
    assert exists(begun)
    set_back(begun, HOUR / 2)
    assert applied(Keeping(store), rules, is_dry=True) == {OLD: False}
    await store.note_pull(ONE, FIRST.digest)
    assert applied(Keeping(store), rules) == {OLD: True}
    set_back(f"{store.layout.pulled(ONE)}/{flat(FIRST.digest)}", 120)
    assert applied(Keeping(store), rules) == {OLD: False}


def set_since(path: str, pattern: str, ago: float) -> None:
    """Let the record of a pattern have begun so long ago."""
    written = json.loads(read_file(path))
    written["since"][pattern] -= ago
    put(path, json.dumps(written).encode())


async def test_a_signature_stays_where_its_image_does(store: FilesystemStore) -> None:
    """Where an image stays that was to go, since it was pushed again just then, its signature stays too."""
    signature = Tag(f"{FIRST.digest.replace(':', '-')}.sig")
    await pushed(store, FIRST, OLD, ago=2 * HOUR)
    await pushed(store, THIRD, signature)
    await pushed(store, SECOND, NEW)
    keeper = Keeping(store)
    assert applied(keeper, is_dry=True) == {OLD: False, NEW: True, signature: False}
    image = (store.layout.revision(ONE, FIRST.digest), store.layout.tag_current(ONE, OLD))

    def set_image_back(seconds: float) -> None:
        for path in image:
            set_back(path, seconds)

    keeper.before_removal = lambda: set_image_back(0)
    assert applied(keeper) == {OLD: True, NEW: True, signature: True}
    set_image_back(2 * HOUR)
    keeper.before_removal = lambda: None
    assert applied(keeper) == {OLD: False, NEW: True, signature: False}
    assert await tags_of(store, ONE) == [NEW]
