"""The trash: what is listed of it, what cannot be had from it any more, and what is let go, over either store."""

from __future__ import annotations

import asyncio
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from cargohold.registry.restoring import Restored, Unrestorable
from cargohold.storage.filesystem import FilesystemStore
from cargohold.storage.trash import Cause, Why, new_record
from cargohold.types.digest import Digest
from cargohold.types.names import Tag
from tests.registry.trashing import APP, DAY, ONE, OTHER, TWO, Registry

if TYPE_CHECKING:
    from pathlib import Path


def test_listed(registry: Registry) -> None:
    """The list tells of each repository that is wanted what was deleted, by whom, and until when it can be restored."""
    for repository in (OTHER, APP):
        one = registry.push(ONE, "a", "b", repository=repository)
        registry.delete("b", repository, Why.TAG_DELETED, "ann")
        registry.delete(one, repository, Why.RETENTION)
    found = registry.listed()
    assert [(each.repository, each.record.tags, each.record.cause) for each in found] == [
        (APP, ("b",), Cause(Why.TAG_DELETED, "ann")),
        (APP, ("a",), Cause(Why.RETENTION)),
        (OTHER, ("b",), Cause(Why.TAG_DELETED, "ann")),
        (OTHER, ("a",), Cause(Why.RETENTION)),
    ]
    assert all(each.until == each.record.when + DAY for each in found)
    assert registry.listed(lambda name: name == OTHER) == found[2:]


def test_what_is_there_again(registry: Registry) -> None:
    """What somebody has pushed again is not listed; to restore it changes nothing, and clears the trash of it."""
    one = registry.push(ONE, "a", "b")
    registry.delete(one)
    registry.push(ONE, "a")
    assert [each.record.tags for each in registry.listed()] == [("a", "b")]
    registry.push(ONE, "b")
    assert registry.listed() == []
    assert registry.records() == 1
    assert registry.restore("a") == Restored(APP, one)
    assert registry.records() == 0


def test_too_late(registry: Registry) -> None:
    """What was deleted too long ago, or was let go, is not restored, and is not listed."""
    one = registry.push(ONE, "a")
    registry.delete(one)
    assert registry.listed(keep=0.0) == []
    for reference in ("a", one):
        with pytest.raises(
            Unrestorable, match=r"^team/app[:@].+ was deleted, and can no longer be restored$"
        ):
            registry.restore(reference, keep=0.0)
    assert registry.run(registry.trash().empty(bool)) == 1
    assert registry.listed() == []
    with pytest.raises(Unrestorable, match="can no longer be restored"):
        registry.restore("a")


@pytest.mark.parametrize("reference", ["b", Digest.of(TWO)])
def test_not_in_the_trash(registry: Registry, reference: str) -> None:
    """What was never deleted is told to be so."""
    registry.push(TWO, "b")
    registry.delete(registry.push(ONE, "a"))
    with pytest.raises(Unrestorable, match=rf"^team/app[:@]{reference} is not in the trash$"):
        registry.restore(reference)


def test_emptied_by_age_and_pattern(registry: Registry) -> None:
    """What was deleted long enough ago is let go, in repositories that are wanted, and once."""
    for repository in (APP, OTHER):
        registry.delete(registry.push(ONE, "a", repository=repository), repository)
    trash = registry.trash()
    assert registry.run(trash.empty(bool, older_than=60.0)) == 0
    assert len(registry.listed()) == 2
    assert registry.run(trash.empty(lambda name: name == OTHER)) == 1
    assert [each.repository for each in registry.listed()] == [APP]
    assert registry.run(trash.empty(bool)) == 1
    assert registry.run(trash.empty(bool)) == 0


def test_thousands_of_deletions(tmp_path: Path) -> None:
    """In a trash of thousands the right one is found."""
    with asyncio.Runner() as runner, closing(FilesystemStore(str(tmp_path / "data"))) as store:
        store.prepare()
        registry = Registry(store, runner)
        one = registry.push(ONE, "a")
        folder, began = store.layout.trash(APP), time.time() - 5_000
        for number in range(3_000):
            record = new_record(
                Digest.of(b"%d" % number),
                [Tag(f"t{number}")],
                Cause(Why.RETENTION),
                whole=True,
                content=None,
                now=began + number,
            )
            store.disk.make_folders(folder)
            with open(f"{folder}/{record.name}", "xb") as file:
                file.write(record.encode())
        registry.delete(one)
        assert len(registry.listed()) == 3_001
        assert registry.restore("a").manifests == [one]
        with pytest.raises(Unrestorable, match="the content of the manifest"):
            registry.restore("t1500")
        assert registry.run(registry.trash().empty(bool)) == 3_000
