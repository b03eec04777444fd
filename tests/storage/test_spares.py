"""Links that are replaced: what becomes of the files that they were."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from cargohold.storage import disk as calls
from cargohold.storage import spares
from cargohold.storage.change import Change
from cargohold.storage.durable import Disk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LINKS = [b"sha256:" + letter * 64 for letter in (b"a", b"b", b"c", b"d")]


@pytest.fixture
def top(tmp_path: Path) -> Path:
    (tmp_path / "new").mkdir()
    return tmp_path


@pytest.fixture
def disk(top: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    """One on which what was replaced need not rest."""
    monkeypatch.setattr(spares, "REST", 0.0)
    made = Disk(str(top), bool)
    yield made
    made.close()


def put(disk: Disk, top: Path, name: str, content: bytes) -> int:
    """Replace a link; the inode of the one that is there then."""
    with Change(disk, str(top / "new")) as change:
        change.replace(str(top / name / "link"), content)
        change.stage()
        change.place()
        change.settle()
    assert (top / name / "link").read_bytes() == content
    return (top / name / "link").stat().st_ino


def test_written_again(disk: Disk, top: Path) -> None:
    """The file that a link was becomes the next one, of whatever length; nothing else is kept."""
    first, second = (put(disk, top, "tag", content) for content in LINKS[:2])
    assert put(disk, top, "other", b"short") == first
    assert put(disk, top, "other", LINKS[2] * 2) not in {first, second}
    assert put(disk, top, "tag", LINKS[3]) == first
    assert os.listdir(top / "new") == [os.path.basename(path) for path in disk._spares.clear()]


def test_rests_first(disk: Disk, top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that somebody may still be reading is not written yet."""
    monkeypatch.setattr(spares, "REST", 60.0)
    first, second = (put(disk, top, "tag", content) for content in LINKS[:2])
    with open(top / "tag/link", "rb") as reader:
        assert put(disk, top, "tag", LINKS[2]) not in {first, second}
        assert put(disk, top, "tag", LINKS[3]) not in {first, second}
        assert reader.read() == LINKS[1]


def test_with_another_name(disk: Disk, top: Path) -> None:
    """One that has a second name, as in a backup made of hard links, is not written to."""
    put(disk, top, "tag", LINKS[0])
    os.link(top / "tag/link", top / "backup")
    put(disk, top, "tag", LINKS[1])
    put(disk, top, "tag", LINKS[2])
    assert (top / "backup").read_bytes() == LINKS[0]


def test_somebody_tidies_up(disk: Disk, top: Path) -> None:
    """One that was taken away from the folder aside is not missed."""
    put(disk, top, "tag", LINKS[0])
    put(disk, top, "tag", LINKS[1])
    for path in (top / "new").iterdir():
        path.unlink()
    put(disk, top, "tag", LINKS[2])


def test_not_before_it_is_settled(disk: Disk, top: Path) -> None:
    """What was replaced, and is not known to be durably replaced, is left alone: it may be needed after a power cut."""
    put(disk, top, "tag", LINKS[0])
    with Change(disk, str(top / "new")) as change:
        change.replace(str(top / "tag/link"), LINKS[1])
        change.stage()
        change.place()
    (left,) = (top / "new").iterdir()
    put(disk, top, "tag", LINKS[2])
    assert left.read_bytes() == LINKS[0]


def test_where_nothing_can_be_exchanged(disk: Disk, top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On other file systems links are renamed over what was there."""

    def refuse(first: str, second: str) -> None:
        asked.append(first)
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), first, None, second)

    asked: list[str] = []
    monkeypatch.setattr(calls, "exchange", refuse)
    for content in LINKS:
        put(disk, top, "tag", content)
    assert os.listdir(top / "new") == []
    assert len(asked) == 1


def test_a_failure_is_told(disk: Disk, top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is wrong with the disk is told; the link is what it was, and nothing is left."""

    def fail(first: str, second: str) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), first, None, second)

    put(disk, top, "tag", LINKS[0])
    monkeypatch.setattr(calls, "exchange", fail)
    with pytest.raises(OSError, match="Input/output error"):
        put(disk, top, "tag", LINKS[1])
    assert (top / "tag/link").read_bytes() == LINKS[0]
    assert os.listdir(top / "new") == []


def test_too_many(disk: Disk, top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more are kept than shall be, nor longer than they may be of use; the others are removed behind the answer."""
    monkeypatch.setattr(spares, "REST", 60.0)
    monkeypatch.setattr(spares, "_MOST", 2)
    for content in LINKS * 3:
        put(disk, top, "tag", content)
    disk.removals.close()
    assert len(os.listdir(top / "new")) == 2
    monkeypatch.setattr(spares, "_LONGEST", 0.0)
    put(disk, top, "tag", LINKS[0])
    disk.close()
    assert os.listdir(top / "new") == []
