"""Every kind of damage to a tree: found, told, repaired as far as that loses nothing, and found no more."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import pytest

from cargohold.storage.filesystem.checking.findings import REPAIRED, Kind, Outcome, Remedy
from cargohold.storage.layout import flat
from cargohold.types.digest import Digest

from .checking import FIRST, SECOND, SIGNATURE, A, B, Place, write
from .contract.base import ONE
from .foreign import put

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

STRAY = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "data")


class Damage(NamedTuple):
    """What is done to a tree, what is found then, and what is left of that after a repair."""

    do: Callable[[Place], None]
    found: Mapping[Kind, int]
    left: Mapping[Kind, int] = Counter()
    verify: bool = False


def tag(place: Place, name: str, *rest: str) -> str:
    return "/".join((place.layout.tags(ONE), name, *rest))


def current(place: Place, name: str) -> str:
    return tag(place, name, "current", "link")


def history(place: Place, name: str, digest: Digest) -> str:
    return tag(place, name, "index", digest.replace(":", "/"), "link")


def lose_bytes(place: Place) -> None:
    os.unlink(place.data(FIRST))
    place.age(place.layout.blobs)


def unlink_child(place: Place) -> None:
    shutil.rmtree(os.path.dirname(place.revision(B)))
    shutil.rmtree(tag(place, "b"))


def spoil_moved_tag(place: Place) -> None:
    put(history(place, "a", B.digest), B.digest.encode())
    write(current(place, "a"), b"")
    place.age(tag(place, "a"))


def halve_tag(place: Place) -> None:
    shutil.rmtree(tag(place, "a", "current"))
    place.age(tag(place, "a"))


def point_to_deleted(place: Place) -> None:
    """The tag has pointed to what was deleted since."""
    gone = Digest.of(b"gone")
    put(history(place, "a", gone), gone.encode())
    place.age(tag(place, "a"))


def halve_upload(*names: str) -> Callable[[Place], None]:
    def halve(place: Place) -> None:
        folder = f"{place.layout.uploads(ONE)}/{STRAY}"
        os.makedirs(folder)
        for name in names:
            put(f"{folder}/{name}", b"some")
        place.age(place.layout.uploads(ONE))

    return halve


def lose_referrer(place: Place) -> None:
    place.keep_lists()
    shutil.rmtree(place.layout.referrers(ONE, A.digest))


def mark_nothing(place: Place) -> None:
    put(f"{place.layout.catalog}/no:such", b"")
    place.age(place.layout.catalog)


LOST = {Kind.MISSING_BLOB: 2}
"""What is lost is lost to both repositories: only another push brings it back."""

DAMAGES = {
    "other bytes of the same length": Damage(
        lambda place: write(place.data(FIRST), b"tsrif"),
        {Kind.WRONG_CONTENT: 1, Kind.DAMAGED_BLOB: 2},
        LOST,
        verify=True,
    ),
    "a blob that is too short": Damage(
        lambda place: write(place.data(FIRST), b"fir"),
        {Kind.WRONG_CONTENT: 1, Kind.DAMAGED_BLOB: 2},
        LOST,
    ),
    "an empty blob": Damage(
        lambda place: write(place.data(FIRST), b""),
        {Kind.WRONG_CONTENT: 1, Kind.DAMAGED_BLOB: 2},
        LOST,
    ),
    "other bytes of a manifest": Damage(
        lambda place: write(place.data(A), b"x" * len(A.manifest.content)),
        {Kind.WRONG_CONTENT: 1},
        {Kind.MISSING_MANIFEST: 2},
    ),
    "a blob that is gone": Damage(
        lambda place: shutil.rmtree(os.path.dirname(place.data(FIRST))),
        {Kind.MISSING_BLOB: 2},
        LOST,
    ),
    "a blob without bytes": Damage(lose_bytes, {Kind.NO_CONTENT: 1, Kind.MISSING_BLOB: 2}, LOST),
    "a link that nothing needs": Damage(lambda place: place.link_nothing(ONE), {Kind.DANGLING_LINK: 1}),
    "a blob that is not linked": Damage(
        lambda place: shutil.rmtree(os.path.dirname(place.layer(FIRST))), {Kind.UNLINKED_BLOB: 1}
    ),
    "an empty link of a blob": Damage(lambda place: write(place.layer(FIRST), b""), {Kind.BAD_LINK: 1}),
    "another digest in a link of a blob": Damage(
        lambda place: write(place.layer(FIRST), Digest.of(SECOND).encode()), {Kind.BAD_LINK: 1}
    ),
    "rubbish in a link of a manifest": Damage(
        lambda place: write(place.revision(A), b"\xff\0" * 100), {Kind.BAD_LINK: 1}
    ),
    "a manifest that is gone": Damage(
        lambda place: shutil.rmtree(os.path.dirname(place.data(B))),
        {Kind.LOST_MANIFEST: 2, Kind.DANGLING_TAG: 2},
        {Kind.MISSING_MANIFEST: 2},
    ),
    "a manifest that is not linked": Damage(
        lambda place: shutil.rmtree(os.path.dirname(place.revision(B))),
        {Kind.DANGLING_TAG: 1, Kind.MISSING_MANIFEST: 1},
    ),
    "a child of an index that is not linked": Damage(
        unlink_child, {Kind.MISSING_MANIFEST: 1}, {Kind.MISSING_MANIFEST: 1}
    ),
    "rubbish in a tag that was never moved": Damage(
        lambda place: write(current(place, "a"), b"sha256:123"), {Kind.BAD_LINK: 1}
    ),
    "rubbish in a tag that has moved": Damage(spoil_moved_tag, {Kind.BAD_LINK: 1}),
    "a tag that points to nothing": Damage(
        lambda place: write(current(place, "a"), Digest.of(b"nothing").encode()), {Kind.DANGLING_TAG: 1}
    ),
    "a tag that points to a blob": Damage(
        lambda place: write(current(place, "a"), Digest.of(FIRST).encode()), {Kind.DANGLING_TAG: 1}
    ),
    "a tag without a link": Damage(halve_tag, {Kind.HALF_TAG: 1}),
    "a tag without a history": Damage(
        lambda place: shutil.rmtree(tag(place, "a", "index")), {Kind.UNINDEXED_TAG: 1}
    ),
    "a history that leads to nothing": Damage(point_to_deleted, {Kind.OLD_TAG_LINK: 1}),
    "a session without a start": Damage(halve_upload("data"), {Kind.HALF_UPLOAD: 1}),
    "a session without bytes": Damage(halve_upload("startedat"), {Kind.HALF_UPLOAD: 1}),
    "a session without anything": Damage(halve_upload(), {Kind.HALF_UPLOAD: 1}),
    "a session with something else": Damage(halve_upload("else"), {Kind.HALF_UPLOAD: 1}),
    "a referrer that is not listed": Damage(lose_referrer, {Kind.UNLISTED_REFERRER: 1}),
    "rubbish in the list of referrers": Damage(
        lambda place: write(f"{place.layout.referrers(ONE, A.digest)}/{flat(SIGNATURE.digest)}", b"{"),
        {Kind.UNLISTED_REFERRER: 1},
    ),
    "a repository without a mark": Damage(
        lambda place: os.unlink(place.layout.catalog_mark(ONE)), {Kind.MISSING_MARK: 1}
    ),
    "a mark without a repository": Damage(mark_nothing, {Kind.EMPTY_MARK: 1}),
}


def counted(kinds: Mapping[Kind, int]) -> Counter[str]:
    return Counter({kind.value: count for kind, count in kinds.items()})


def told(place: Place, *, verify: bool) -> Counter[str]:
    """What is found, the totals apart: most damage has them wrong."""
    kinds = place.kinds(verify=verify)
    del kinds[Kind.WRONG_TOTALS.value]
    return kinds


def test_nothing_is_found_in_a_tree_that_is_well(place: Place) -> None:
    """Not even what is harmless; and nothing is changed."""
    before = {path: path.read_bytes() for path in place.root.rglob("*") if path.is_file()}
    assert place.check() == []
    assert {path: path.read_bytes() for path in place.root.rglob("*") if path.is_file()} == before
    assert place.check(verify=True, jobs=4) == []
    assert place.check(verify=True, repair=True) == []


@pytest.mark.parametrize("name", DAMAGES)
def test_damage(place: Place, name: str) -> None:
    """It is found, each time; it is repaired; what is found again after that is what is lost."""
    damage = DAMAGES[name]
    damage.do(place)
    for _ in range(2):
        assert told(place, verify=damage.verify) == counted(damage.found)
    repaired = place.check(verify=damage.verify, repair=True)
    assert {each.outcome for each in repaired if each.remedy is not Remedy.NOTHING} <= REPAIRED
    for repair in (False, True):
        assert place.kinds(verify=True, repair=repair) == counted(damage.left)
    taken = [each.path for each in repaired if each.outcome is Outcome.QUARANTINED]
    assert sorted(each["path"] for each in place.quarantined()) == sorted(taken)
