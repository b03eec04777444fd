"""Changes that become durable together: what is written where, in what order, and what is left of a failure."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from cargohold.storage import disk as calls
from cargohold.storage import settled
from cargohold.storage.durable import (
    Change,
    Disk,
    remove,
    remove_folder,
    replace_unsynced,
    write_all,
    write_unsynced,
)
from cargohold.storage.proofs import stamp
from tests.e2e.server import UNPRIVILEGED

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from pathlib import Path

HOUR = 3_600_000_000_000
"""In nanoseconds."""


class Recorder(Disk):
    """A real disk that notes its syncs and renames, and fails where it is told to."""

    def __init__(self, top: str) -> None:
        super().__init__(top, lambda folder: "/goes" not in folder)
        self.events: list[tuple[str, str]] = []
        self.fail_at = ""

    def _note(self, kind: str, path: str) -> None:
        self.events.append((kind, path))
        if kind == self.fail_at:
            raise OSError(errno.ENOSPC, "No space left on device")

    def write_files(self, contents: Mapping[str, bytes], small: Collection[str] = ()) -> None:
        super().write_files(contents, small)
        for path in contents:
            self._note("file", path)

    def sync_folders(self, paths: Iterable[str]) -> None:
        there = list(filter(os.path.isdir, paths))
        super().sync_folders(paths)
        for path in there:
            self._note("folder", path)

    def rename(self, old: str, new: str) -> None:
        if self.fail_at == "rename":
            self._note("rename", new)
        super().rename(old, new)
        self._note("rename", new)

    def taken(self, kind: str) -> list[str]:
        """The paths of one kind of event since the last time, and no more of them."""
        found = [path for each, path in self.events if each == kind]
        self.events = [event for event in self.events if event[0] != kind]
        return found


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


def test_may_be_lost(disk: Recorder, top: Path) -> None:
    """What may be lost is synced before it is put into place, like all else, and its folders are not."""
    change = _change(disk, top, "goes/one")
    change.file(str(top / "lost/two"), b"bytes")
    change.file(str(top / "lost/three"), b"more", may_be_lost=True)
    change.file(str(top / "other/four"), b"bytes", may_be_lost=True)
    _apply(change)
    assert len(disk.taken("file")) == 4
    assert sorted(disk.taken("folder")) == [str(top), str(top / "goes"), str(top / "lost")]
    assert (top / "lost/three").read_bytes() == b"more"
    assert (top / "other/four").read_bytes() == b"bytes"


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


def test_each_waits_for_all(disk: Recorder) -> None:
    """Every path has had its turn, several at once, before the first error is raised."""
    done: list[str] = []
    together = threading.Barrier(4)

    def work(path: str) -> None:
        together.wait(10)
        done.append(path)
        if path == "b":
            raise OSError(errno.EIO, "bad")

    with pytest.raises(OSError, match="bad"):
        disk.each(work, ["a", "b", "c", "d"])
    assert sorted(done) == ["a", "b", "c", "d"]
    disk.each(work, [])


def test_make_folders_at_once(disk: Recorder, top: Path) -> None:
    """Many may make the same folders at the same time."""
    path = str(top / "/".join("abcdefgh"))
    with_others = threading.Barrier(8)

    def make(_: str) -> None:
        with_others.wait(10)
        disk.make_folders(path)

    disk.each(make, [str(number) for number in range(8)])
    assert os.path.isdir(path)


def test_write_all() -> None:
    """Every byte is written, where the system takes a part at a time as well."""
    content = os.urandom(300_000)
    reader, writer = os.pipe()
    received: list[bytes] = []

    def receive() -> None:
        with open(reader, "rb") as file:
            received.append(file.read())

    thread = threading.Thread(target=receive)
    thread.start()
    write_all(writer, content)
    os.close(writer)
    thread.join(10)
    assert received == [content]


def test_remove(tmp_path: Path) -> None:
    """Files, folders and links are removed, what links lead to is not, and what is not there is no error."""
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    doomed = tmp_path / "doomed"
    (doomed / "a/b").mkdir(parents=True)
    (doomed / "a/file").touch()
    (doomed / "link").symlink_to(kept)
    (tmp_path / "link").symlink_to(kept)
    for path in (doomed, tmp_path / "link", tmp_path / "missing"):
        remove(str(path))
    assert os.listdir(tmp_path) == ["kept"]
    assert os.listdir(kept) == ["file"]


def test_replace_unsynced(tmp_path: Path) -> None:
    """It takes the place of what is there, makes the folders above, and leaves nothing beside it."""
    target = tmp_path / "a/b/file"
    for content in (b"one", b"two"):
        replace_unsynced(str(target), content)
        assert target.read_bytes() == content
    assert os.listdir(target.parent) == ["file"]


@pytest.mark.parametrize("call", ["write", "rename"])
def test_failure_of_what_is_not_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """It is told, what was there stays as it is, and nothing is left beside it."""

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    target = tmp_path / "file"
    target.write_bytes(b"old")
    monkeypatch.setattr(calls, call, fail)
    with pytest.raises(OSError, match="No space"):
        replace_unsynced(str(target), b"new")
    if call == "write":
        with pytest.raises(OSError, match="No space"):
            write_unsynced(str(tmp_path / "other"), b"new")
    assert os.listdir(tmp_path) == ["file"]
    assert target.read_bytes() == b"old"


def _rely_on(disk: Disk, top: Path, name: str) -> None:
    change = Change(disk, str(top / "new"))
    change.rely_on(str(top / name))
    _apply(change)


def _change(disk: Disk, top: Path, name: str) -> Change:
    change = Change(disk, str(top / "new"))
    change.file(str(top / name), b"bytes")
    return change


def test_touch_what_is_anothers(tmp_path: Path) -> None:
    """Each touch gives a later time, also to a folder of another user that may be written to alone."""
    code = (
        "import os, sys; from cargohold.storage.durable import Disk\n"
        "disk, folder = Disk(sys.argv[1], lambda _: True), sys.argv[1]\n"
        "for _ in range(20): disk.touch(folder); print(os.stat(folder).st_mtime_ns)\n"
    )
    command = [*UNPRIVILEGED, sys.executable, "-c", code, str(tmp_path)]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)
    assert (ended.returncode, ended.stderr) == (0, "")
    times = [int(line) for line in ended.stdout.split()]
    assert len(times) == 20
    assert times == sorted(set(times))
