"""The number by which every process learns of a change: seen at once, and by nobody too late for good."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from cargohold.storage.generation import Generation
from cargohold.storage.protocols import Unavailable
from tests.storage.places import fill, read_only_view, small_disk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_READER = """
import sys
from cargohold.storage.generation import Generation
generation = Generation(sys.argv[1])
for _ in sys.stdin:
    print(generation.read(), flush=True)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "generation"


@pytest.fixture
def reader(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process, which reads once for each line that it is sent."""
    command = [sys.executable, "-c", _READER, str(path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    yield process
    process.communicate(timeout=30)
    assert process.returncode == 0


def ask(process: subprocess.Popen[str]) -> int:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return int(process.stdout.readline())


def test_stays(path: Path) -> None:
    """Nobody sees another number without a change, not those who come later either."""
    one, other = Generation(str(path)), Generation(str(path))
    first = one.read()
    assert [one.read(), other.read(), one.read()] == [first] * 3
    one.close()
    assert one.read() == first


def test_changes(path: Path) -> None:
    """Each change gives a number that was not there before, to whoever made it too."""
    one, other = Generation(str(path)), Generation(str(path))
    seen = {other.read()}
    for number in range(500):
        (one, other)[number % 2].change()
        assert one.read() == other.read()
        seen.add(one.read())
    assert len(seen) == 501
    assert all(0 <= number < 2**64 for number in seen)


def test_seen_by_processes(path: Path, reader: subprocess.Popen[str]) -> None:
    """What a process reads after a change has returned is the new number."""
    generation = Generation(str(path))
    before = ask(reader)
    for _ in range(100):
        generation.change()
        now = ask(reader)
        assert now == generation.read() != before
        before = now


def test_change_before_any_read(path: Path) -> None:
    """A change needs nobody to have read before, and is kept for those who come."""
    Generation(str(path)).change()
    assert Generation(str(path)).read() == int.from_bytes(path.read_bytes(), sys.byteorder) != 0


def test_private(path: Path) -> None:
    """The file is its owner's alone."""
    Generation(str(path)).read()
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"", b"\x01\x02\x03"])
def test_short_file(path: Path, content: bytes) -> None:
    """A file that is too short to be mapped is made whole instead of ending the process."""
    path.write_bytes(content)
    generation = Generation(str(path))
    assert generation.read() > 0
    assert len(path.read_bytes()) == 8


def test_removed(path: Path) -> None:
    """Who follows finds the file that was made after somebody had removed the old one."""
    reading, changing = Generation(str(path)), Generation(str(path))
    before = reading.read()
    path.unlink()
    changing.change()
    reading.follow()
    assert reading.read() == changing.read() != before
    path.unlink()
    reading.follow()
    assert reading.read() != before
    assert path.exists()


def test_follow_keeps(path: Path) -> None:
    """Who follows a file that is still there goes on with it."""
    generation = Generation(str(path))
    before = generation.read()
    generation.follow()
    assert generation.read() == before


def test_without_folder(tmp_path: Path) -> None:
    """A folder that is missing is told, not taken for a change."""
    generation = Generation(str(tmp_path / "missing/generation"))
    with pytest.raises(Unavailable, match="No such file"):
        generation.read()
    with pytest.raises(Unavailable, match="No such file"):
        generation.change()


def test_read_only(tmp_path: Path) -> None:
    """Where nothing can be written the number is 0 while there is none, and then that which others change."""
    folder = tmp_path / "folder"
    folder.mkdir()
    with read_only_view(folder, tmp_path / "view") as view:
        reading, changing = Generation(str(view / "generation")), Generation(str(folder / "generation"))
        assert reading.read() == 0
        with pytest.raises(Unavailable, match="Read-only"):
            reading.change()
        for _ in range(3):
            changing.change()
            assert reading.read() == changing.read()
        reading.close()


def test_full_disk(tmp_path: Path) -> None:
    """A full disk ends no process: it is an error for who changes, and 0 for who reads, until there is room."""
    with small_disk(tmp_path / "disk", 64) as disk:
        generation = Generation(str(disk / "generation"))
        filler = fill(disk)
        assert generation.read() == 0
        with pytest.raises(Unavailable, match="No space"):
            generation.change()
        filler.unlink()
        generation.change()
        before = generation.read()
        fill(disk)
        generation.change()
        assert generation.read() != before
        generation.close()
