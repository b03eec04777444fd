"""The trash: what is written down of deletions, by every process."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from cargohold.storage.protocols import NotFound
from cargohold.storage.trash import Cause, Why
from cargohold.types.digest import Algorithm
from cargohold.types.names import RepositoryName, Tag

from .base import IMAGE, LATEST, ONE, OTHER, Contract, Pair, commit, document, sample, tags_of
from .racing import ROUNDS, race

if TYPE_CHECKING:
    from cargohold.storage.protocols import Store
    from cargohold.storage.trash import Record

FIRST, SECOND = sample("first"), sample("second")
REFERRER = sample("referrer", subject=FIRST.digest, algorithm=Algorithm.SHA512)
STABLE = Tag("stable")


async def records(store: Store, repository: RepositoryName = ONE) -> list[Record]:
    """What is in a trash in which all can be read."""
    found = await store.read_trash(repository)
    assert found.unreadable == {}
    return found.records


class TrashContract(Contract):
    """`TrashStore`."""

    async def test_deleted_manifest_is_written_down(self, store: Store, second: Store) -> None:
        """A deleted manifest is in the trash with its tags, and with who deleted it and why."""
        await commit(store, ONE, REFERRER, LATEST, STABLE)
        began = time.time()
        await store.delete_manifest(ONE, REFERRER.digest, Cause(Why.UNTAGGED, "ann"))
        (record,) = await records(second)
        assert (record.digest, sorted(record.tags), record.whole) == (REFERRER.digest, [LATEST, STABLE], True)
        assert record.cause == Cause(Why.UNTAGGED, "ann")
        assert (record.media_type, record.size) == (IMAGE, len(REFERRER.manifest.content))
        assert record.subject == FIRST.digest
        assert began - 1 <= record.when <= time.time()
        assert not record.ended

    async def test_deleted_tag_is_written_down(self, store: Store, second: Store) -> None:
        """A deleted tag is in the trash with what it pointed to, which stays."""
        await commit(store, ONE, FIRST, LATEST, STABLE)
        await store.delete_tag(ONE, LATEST)
        (record,) = await records(second)
        assert (record.digest, record.tags, record.whole) == (FIRST.digest, (LATEST,), False)
        assert record.cause == Cause(Why.TAG_DELETED)
        assert await tags_of(store, ONE) == [STABLE]

    async def test_trash_is_in_the_order_of_time(self, store: Store) -> None:
        """What was deleted first comes first."""
        await commit(store, ONE, FIRST, LATEST, STABLE)
        await store.delete_tag(ONE, STABLE)
        await store.delete_tag(ONE, LATEST)
        await store.delete_manifest(ONE, FIRST.digest)
        assert [record.tags for record in await records(store)] == [(STABLE,), (LATEST,), ()]

    async def test_trash_of_one_repository(self, store: Store) -> None:
        """A trash is that of one repository, and stays when that holds nothing any more."""
        await commit(store, ONE, FIRST, LATEST)
        await commit(store, OTHER, FIRST)
        assert await store.trashed_repositories() == []
        await store.delete_manifest(ONE, FIRST.digest)
        assert await records(store, OTHER) == []
        assert await records(store, RepositoryName("unknown")) == []
        assert await store.trashed_repositories() == [ONE]
        assert await store.list_repositories("", 10) == [OTHER]

    async def test_failed_deletion_is_not_written_down(self, store: Store) -> None:
        """What is not there cannot be deleted, and leaves no record."""
        await commit(store, ONE, FIRST)
        with pytest.raises(NotFound):
            await store.delete_manifest(ONE, SECOND.digest)
        with pytest.raises(NotFound):
            await store.delete_tag(ONE, LATEST)
        assert await store.trashed_repositories() == []

    async def test_deleted_content_is_read(self, store: Store, second: Store) -> None:
        """The bytes of a deleted manifest can be read where it was deleted, as before, and not as a manifest."""
        await commit(store, ONE, REFERRER, LATEST)
        await store.delete_manifest(ONE, REFERRER.digest)
        assert await second.read_deleted(ONE, REFERRER.digest) == REFERRER.manifest.content
        assert await document(second, ONE, REFERRER.digest) is None
        with pytest.raises(NotFound):
            await store.read_deleted(ONE, SECOND.digest)

    async def test_records_are_dropped(self, store: Store, second: Store) -> None:
        """A record that is dropped is gone; the others stay, and what is gone already is passed over."""
        await commit(store, ONE, FIRST, LATEST, STABLE)
        await store.delete_tag(ONE, LATEST)
        await store.delete_tag(ONE, STABLE)
        first, second_record = await records(store)
        for each in (store, second):
            await each.drop_records(ONE, [first.name])
            assert await records(each) == [second_record]

    async def test_records_are_ended(self, store: Store, second: Store) -> None:
        """What was deleted before a time cannot be undone from then on; it is ended once."""
        await commit(store, ONE, FIRST, LATEST, STABLE)
        await store.delete_tag(ONE, LATEST)
        await asyncio.sleep(0.001)
        await store.delete_tag(ONE, STABLE)
        first, other = await records(store)
        assert await store.end_records(ONE, first.when) == 0
        assert await store.end_records(ONE, other.when) == 1
        assert await second.end_records(ONE, other.when) == 0
        ended, open_ = await records(second)
        assert open_ == other
        assert (ended.ended, ended.when, ended.tags, ended.digest) == (
            True,
            first.when,
            (LATEST,),
            FIRST.digest,
        )
        assert ended.until(1000.0) == first.when
        assert await store.end_records(RepositoryName("unknown"), time.time()) == 0

    async def test_deleted_twice_at_once(self, pair: Pair) -> None:
        """Of two who delete a manifest, or a tag, at once one does, and there is one record of it."""
        store, second = pair.stores
        for number in range(ROUNDS):
            await commit(store, ONE, FIRST, LATEST, STABLE)
            taken = await race(number, store.delete_tag(ONE, LATEST), second.delete_tag(ONE, LATEST))
            assert sorted(taken) == [False, True]
            taken = await race(
                number, store.delete_manifest(ONE, FIRST.digest), second.delete_manifest(ONE, FIRST.digest)
            )
            assert sorted(taken) == [False, True]
            found = await records(store)
            assert [record.tags for record in found] == [(LATEST,), (STABLE,)]
            await store.drop_records(ONE, [record.name for record in found])

    async def test_all_tags_that_go_are_written_down(self, pair: Pair) -> None:
        """Whatever tags come to a manifest while it is deleted: those that went with it are in its record."""
        store, second = pair.stores
        for number in range(ROUNDS):
            await commit(store, ONE, FIRST, LATEST)
            await race(number, commit(second, ONE, FIRST, STABLE), store.delete_manifest(ONE, FIRST.digest))
            left = set(await tags_of(store, ONE) or [])
            found = await records(store)
            assert {tag for record in found for tag in record.tags} | left >= {LATEST, STABLE}
            await store.drop_records(ONE, [record.name for record in found])
