"""Repositories that symbolic links lead to are checked as the others are, and left as they are."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from cargohold.storage.filesystem.checking.findings import Finding, Kind, Outcome
from cargohold.types.names import RepositoryName

from .checking import FIRST, NEEDLESS, SECOND, TWO, A, Place, write
from .contract.base import ONE

if TYPE_CHECKING:
    from pathlib import Path

ELSE = RepositoryName("team/else")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """One of its repositories is on another volume."""
    made = Place(tmp_path / "data")
    os.rename(made.layout.repository(TWO), tmp_path / "volume")
    os.symlink(tmp_path / "volume", made.layout.repository(TWO))
    return made


def of(found: list[Finding], repository: RepositoryName) -> dict[Kind, Outcome]:
    return {each.kind: each.outcome for each in found if each.repository == repository}


def test_what_is_wrong_is_found(place: Place) -> None:
    """What clients cannot pull through a link is told, in a check of all and in one of that repository."""
    assert place.check(verify=True) == []
    shutil.rmtree(os.path.dirname(place.layer(SECOND, TWO)))
    write(place.data(FIRST), b"tsrif")
    for found in (place.check(verify=True), place.check(verify=True, matches=TWO.__eq__)):
        assert {Kind.UNLINKED_BLOB, Kind.DAMAGED_BLOB} <= of(found, TWO).keys()


def test_nothing_is_changed(place: Place, tmp_path: Path) -> None:
    """Repair says that it leaves what is behind a link; content itself is mended for all."""
    shutil.rmtree(os.path.dirname(place.layer(SECOND, TWO)))
    write(place.revision(A, TWO), b"rubbish")
    place.link_nothing(ONE, TWO)
    before = {path: path.read_bytes() for path in (tmp_path / "volume").rglob("*") if path.is_file()}
    for repair in (False, True):
        found = of(place.check(repair=repair), TWO)
        assert found[Kind.UNLINKED_BLOB] is found[Kind.BAD_LINK] is Outcome.ALIASED
        assert found[Kind.DANGLING_LINK] is Outcome.ALIASED
    assert {path: path.read_bytes() for path in (tmp_path / "volume").rglob("*") if path.is_file()} == before
    assert not os.path.lexists(place.layer(NEEDLESS))


def test_a_repository_with_a_second_name(place: Place) -> None:
    """Nor is the real folder changed: servers hold other locks when they are asked for it by its second name."""
    os.symlink(place.layout.repository(ONE), place.layout.repository(ELSE))
    shutil.rmtree(os.path.dirname(place.layer(SECOND)))
    found = place.check(repair=True)
    for name in (ONE, ELSE):
        assert of(found, name)[Kind.UNLINKED_BLOB] is Outcome.ALIASED
    assert not os.path.lexists(place.layer(SECOND))
    os.unlink(place.layout.repository(ELSE))
    assert of(place.check(repair=True), ONE)[Kind.UNLINKED_BLOB] is Outcome.WRITTEN


def test_a_volume_that_is_not_mounted(place: Place) -> None:
    """A link that leads nowhere is told, and all else is looked at."""
    shutil.rmtree(os.path.dirname(place.layer(SECOND)))
    os.symlink("/no/such/volume", place.layout.repository(ELSE))
    found = place.check()
    (unread,) = [each for each in found if each.kind is Kind.UNREADABLE]
    assert unread.path.endswith("/repositories/team/else")
    assert Kind.UNLINKED_BLOB in of(found, ONE)
