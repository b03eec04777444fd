"""Changes that become durable together: what is written where, in what order, and what is left of a failure."""

from __future__ import annotations

import errno
import os
from functools import partial
from typing import TYPE_CHECKING

import pytest

from cargohold.storage import disk as calls
from cargohold.storage import settled
from cargohold.storage.change import Change
from cargohold.storage.durable import Disk, remove_folder
from cargohold.storage.proofs import stamp
from tests.storage.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOUR = 3_600_000_000_000
"""In nanoseconds."""


@pytest.fixture
def top(tmp_path: Path) -> Path:
    made = tmp_path / "top"
    (made / "new").mkdir(parents=True)
    return made


@pytest.fixture
def disk(top: Path) -> Iterator[Recorder]:
    made = Recorder(str(top))
    yield made
    made.close()


def _apply(change: Change) -> None:
    with change:
        change.stage()
        change.place()
        change.settle()


def test_three_steps(disk: Recorder, top: Path) -> None:
    """Nothing is in place before `place`; files are written and synced aside first, and renamed in their order."""
    targets = [str(top / name) for name in ("a/deep/er/one", "two", "a/three")]
    with Change(disk, str(top / "new")) as change:
        for number, target in enumerate(targets):
            change.file(target, b"%d" % number)
        change.stage()
        assert len(disk.taken("file")) == len(os.listdir(top / "new")) == 3
        assert sorted(os.listdir(top)) == ["new"]
        change.place()
        assert disk.taken("rename") == targets
        assert disk.taken("folder") == []
        change.settle()
    for number, target in enumerate(targets):
        with open(target, "rb") as file:
            assert file.read() == b"%d" % number
    folders = {str(top / name) for name in ("a/deep/er", "a/deep", "a", "")}
    assert {path.rstrip("/") for path in disk.taken("folder")} == {path.rstrip("/") for path in folders}
    assert os.listdir(top / "new") == []


def test_folders_of_what_is_not_placed(disk: Recorder, top: Path) -> None:
    """The folders that were made for it are removed, but not those that were there, or that another has used."""
    (top / "theirs").mkdir()
    with Change(disk, str(top / "new")) as change:
        for target in ("theirs/one", "ours/two", "shared/three"):
            change.file(str(top / target), b"bytes", folder_first=True)
        change.file(str(top / "later/four"), b"bytes")
        change.stage()
        assert sorted(os.listdir(top)) == ["new", "ours", "shared", "theirs"]
        (top / "shared/link").touch()
    assert sorted(os.listdir(top)) == ["new", "shared", "theirs"]
    assert os.listdir(top / "new") == []


def test_folders_that_are_removed_before_they_are_used(disk: Recorder, top: Path) -> None:
    """Who gives up a change takes the folder away that another has found there: it is made again."""
    first, second = Change(disk, str(top / "new")), Change(disk, str(top / "new"))
    for change in (first, second):
        change.file(str(top / "goes/one"), b"bytes", folder_first=True)
        change.stage()
    first.discard()
    assert not (top / "goes").exists()
    second.place()
    assert os.listdir(top / "goes") == ["one"]


def test_folders_that_last_are_synced_once(disk: Recorder, top: Path) -> None:
    """A folder that lasts is known to be durable from then on; what goes is synced each time, with what it is in."""
    _apply(_change(disk, top, "stays/one"))
    assert sorted(disk.taken("folder")) == [str(top), str(top / "stays")]
    _apply(_change(disk, top, "stays/two"))
    assert disk.taken("folder") == [str(top / "stays")]
    for _ in range(2):
        _apply(_change(disk, top, "stays/goes/link"))
        assert sorted(disk.taken("folder")) == [str(top / "stays"), str(top / "stays/goes")]


def test_folder_made_again(disk: Recorder, top: Path) -> None:
    """A folder that was removed and made again by another process is synced in the folder above it again."""
    _apply(_change(disk, top, "stays/one"))
    (top / "stays").rename(top / "old")
    disk.taken("folder")
    _apply(_change(disk, top, "stays/one"))
    assert sorted(disk.taken("folder")) == [str(top), str(top / "stays")]


def test_rely_on(disk: Recorder, top: Path) -> None:
    """What another has put there is made durable too, though nothing is written."""
    (top / "theirs").mkdir()
    (top / "theirs/link").touch()
    change = Change(disk, str(top / "new"))
    change.rely_on(str(top / "theirs/link"))
    _apply(change)
    assert sorted(disk.taken("folder")) == [str(top), str(top / "theirs")]
    assert disk.taken("file") == disk.taken("rename") == []


def test_relied_on_again(disk: Recorder, top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing has changed since it was synced nothing is synced again; a change by anybody else is seen."""
    monkeypatch.setattr(settled, "stamp", lambda: stamp() + HOUR)
    (top / "goes").mkdir()
    (top / "goes/link").touch()
    for synced in ([str(top), str(top / "goes")], []):
        _rely_on(disk, top, "goes/link")
        assert sorted(disk.taken("folder")) == synced
    (top / "goes/other").touch()
    _rely_on(disk, top, "goes/link")
    assert disk.taken("folder") == [str(top / "goes")]
    (top / "goes").rename(top / "gone")
    (top / "goes").mkdir()
    (top / "goes/link").touch()
    _rely_on(disk, top, "goes/link")
    assert sorted(disk.taken("folder")) == [str(top), str(top / "goes")]


def test_relied_on_while_it_changes(disk: Recorder, top: Path) -> None:
    """A folder that has just changed is synced each time: the next change may be of the same moment."""
    (top / "goes").mkdir()
    for name in ("one", "two"):
        (top / "goes" / name).touch()
        _rely_on(disk, top, "goes/one")
        assert str(top / "goes") in disk.taken("folder")


def test_relied_on_where_a_sync_failed(disk: Recorder, top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be synced is synced again."""
    monkeypatch.setattr(settled, "stamp", lambda: stamp() + HOUR)
    (top / "goes").mkdir()
    (top / "goes/link").touch()
    disk.fail_at = "folder"
    with pytest.raises(OSError, match="No space"):
        _rely_on(disk, top, "goes/link")
    disk.fail_at = ""
    disk.taken("folder")
    _rely_on(disk, top, "goes/link")
    assert sorted(disk.taken("folder")) == [str(top), str(top / "goes")]


def test_alike(disk: Recorder, top: Path) -> None:
    """What is the same as another file is that file, which is synced before; its folders are only if it lasts."""
    change = _change(disk, top, "goes/one")
    change.alike(str(top / "lost/two"), str(top / "goes/one"), b"bytes", is_lasting=False)
    change.alike(str(top / "deep/er/three"), str(top / "goes/one"), b"bytes", is_lasting=False)
    change.alike(str(top / "kept/goes/four"), str(top / "goes/one"), b"bytes")
    _apply(change)
    assert len(disk.taken("file")) == 1
    assert sorted(disk.taken("folder")) == [
        str(top),
        str(top / "goes"),
        str(top / "kept"),
        str(top / "kept/goes"),
    ]
    for name in ("lost/two", "deep/er/three", "kept/goes/four"):
        assert (top / name).samefile(top / "goes/one")
    assert os.listdir(top / "new") == []


def test_alike_that_is_there(disk: Recorder, top: Path) -> None:
    """Somebody else has put it there: it stays as it is."""
    (top / "theirs").mkdir()
    (top / "theirs/two").write_bytes(b"bytes")
    change = _change(disk, top, "goes/one")
    change.alike(str(top / "theirs/two"), str(top / "goes/one"), b"bytes")
    _apply(change)
    assert not (top / "theirs/two").samefile(top / "goes/one")


def test_alike_what_is_gone(disk: Recorder, top: Path) -> None:
    """Another server, which takes no lock, has removed it: it is there all the same."""
    change = Change(disk, str(top / "new"))
    change.alike(str(top / "deep/er/two"), str(top / "goes/one"), b"the same")
    _apply(change)
    assert (top / "deep/er/two").read_bytes() == b"the same"
    assert os.listdir(top / "new") == []


@pytest.mark.parametrize("number", [errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP])
def test_alike_without_second_names(
    disk: Recorder, top: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Where a file system has none, or has given a file all that it can, it is a file of its own, synced as well."""
    monkeypatch.setattr(calls, "link", partial(refused, number))
    change = _change(disk, top, "goes/one")
    change.alike(str(top / "deep/er/two"), str(top / "goes/one"), b"the same")
    _apply(change)
    assert len(disk.taken("file")) == 2
    assert (top / "deep/er/two").read_bytes() == b"the same"
    assert os.listdir(top / "new") == []


@pytest.mark.parametrize("has_second_names", [False, True])
def test_alike_behind_a_folder(
    disk: Recorder, top: Path, monkeypatch: pytest.MonkeyPatch, has_second_names: bool
) -> None:
    """A folder in its place is no such file: it is told and stays, and what was written instead of it is removed."""
    if not has_second_names:
        monkeypatch.setattr(calls, "link", partial(refused, errno.EPERM))
    (top / "folder/in/the/way").mkdir(parents=True)
    with _change(disk, top, "goes/one") as change:
        change.alike(str(top / "folder/in/the"), str(top / "goes/one"), b"the same")
        change.stage()
        with pytest.raises(IsADirectoryError):
            change.place()
    assert os.listdir(top / "new") == []


def test_alike_where_a_disk_fails(disk: Recorder, top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that says nothing of second names is raised."""
    monkeypatch.setattr(calls, "link", partial(refused, errno.EIO))
    change = Change(disk, str(top / "new"))
    change.alike(str(top / "two"), str(top / "goes/one"), b"the same")
    with pytest.raises(OSError, match="Input/output error"):
        change.place()


def test_alike_where_a_link_fails_once(disk: Recorder, top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written instead of it is what is put into place, though its folder is yet to be made."""
    link, refusals = calls.link, [errno.EMLINK]

    def refused_once(path: str, name: str) -> None:
        if refusals:
            refused(refusals.pop(), path, name)
        link(path, name)

    monkeypatch.setattr(calls, "link", refused_once)
    change = _change(disk, top, "goes/one")
    change.alike(str(top / "deep/er/two"), str(top / "goes/one"), b"the same")
    _apply(change)
    assert (top / "deep/er/two").read_bytes() == b"the same"
    assert os.listdir(top / "new") == []


def refused(number: int, path: str, name: str) -> None:
    """As `disk.link` where the system says no."""
    raise OSError(number, os.strerror(number), path, None, name)


def test_folder_gone_before_settle(disk: Recorder, top: Path) -> None:
    """A folder that a deletion has taken away is no error; the one above is synced, so that its going lasts."""
    change = _change(disk, top, "stays/goes/link")
    with change:
        change.stage()
        change.place()
        remove_folder(str(top / "stays/goes"))
        change.settle()
    assert str(top / "stays") in disk.taken("folder")


def test_move(disk: Recorder, top: Path) -> None:
    """A file that is ready is renamed into place; if that does not come about it stays where it is."""
    source = top / "source"
    source.write_bytes(b"bytes")
    with Change(disk, str(top / "new")) as change:
        change.move(str(source), str(top / "target/data"))
        change.stage()
    assert source.read_bytes() == b"bytes"
    change = Change(disk, str(top / "new"))
    change.move(str(source), str(top / "target/data"))
    _apply(change)
    assert (top / "target/data").read_bytes() == b"bytes"
    assert not source.exists()


@pytest.mark.parametrize("step", ["file", "rename"])
def test_failure_leaves_nothing_aside(disk: Recorder, top: Path, step: str) -> None:
    """A full disk is told, and what was written aside is removed."""
    disk.fail_at = step
    change = Change(disk, str(top / "new"))
    for number in range(20):
        change.file(str(top / f"folder/{number}"), b"bytes")
    with pytest.raises(OSError, match="No space"):
        _apply(change)
    assert os.listdir(top / "new") == []
    assert not (top / "folder").exists() or os.listdir(top / "folder") == []


def test_failure_to_settle_is_told(disk: Recorder, top: Path) -> None:
    """A folder that cannot be synced fails the change, and is not taken for durable after that."""
    disk.fail_at = "folder"
    with pytest.raises(OSError, match="No space"):
        _apply(_change(disk, top, "stays/one"))
    disk.fail_at = ""
    disk.taken("folder")
    _apply(_change(disk, top, "stays/one"))
    assert sorted(disk.taken("folder")) == [str(top), str(top / "stays")]


def _rely_on(disk: Disk, top: Path, name: str) -> None:
    change = Change(disk, str(top / "new"))
    change.rely_on(str(top / name))
    _apply(change)


def _change(disk: Disk, top: Path, name: str) -> Change:
    change = Change(disk, str(top / "new"))
    change.file(str(top / name), b"bytes")
    return change
