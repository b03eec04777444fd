"""Single calls that change a disk: what each leaves, also where it fails."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from cargohold.storage import disk as calls
from cargohold.storage.durable import (
    Disk,
    remove,
    replace_unsynced,
    write_all,
    write_unsynced,
)
from tests.e2e.server import UNPRIVILEGED

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(str(tmp_path), lambda _: True)
    yield made
    made.close()


def test_each_waits_for_all(disk: Disk) -> None:
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


def test_make_folders_at_once(disk: Disk, tmp_path: Path) -> None:
    """Many may make the same folders at the same time."""
    path = str(tmp_path / "/".join("abcdefgh"))
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
