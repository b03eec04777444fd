"""Lists of folders' names: kept while they are proved fresh, and not a moment longer."""

from __future__ import annotations

import math
import os
import random
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from cargohold.storage import lists
from cargohold.storage.filesystem import FilesystemStore
from cargohold.storage.lists import FolderLists, load_names, load_title, save_names
from cargohold.storage.proofs import Proof, stamp
from cargohold.types.names import RepositoryName, Tag

from .contract.base import ONE, commit, sample

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator
    from pathlib import Path

LONG = 5_000  # names, enough for a list to be worth a file
SAMPLE = sample("anything")

_CHANGE = """
import os, sys
folder, name = sys.argv[1:]
times = os.stat(folder)
os.mkdir(f"{folder}/{name}")
os.utime(folder, ns=(times.st_atime_ns, times.st_mtime_ns))
assert os.stat(folder).st_mtime_ns == times.st_mtime_ns
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "folder"
    made.mkdir()
    return made


@pytest.fixture
def kept(tmp_path: Path) -> str:
    """Where a long list is kept: its folder is made when it is needed."""
    return str(tmp_path / "kept" / "list")


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[list[FilesystemStore]]:
    """Two stores over one tree, as two processes have them."""
    made = [FilesystemStore(str(tmp_path / "data")) for _ in range(2)]
    made[0].prepare()
    yield made
    for store in made:
        store.close()


def _fill(folder: Path, count: int) -> list[str]:
    names = [f"n{number:05}" for number in range(count)]
    for name in names:
        (folder / name).touch()
    return names


def _wait_until_proved(folder: Path) -> None:
    end = time.monotonic() + 10
    while not Proof.of(str(folder)).holds(stamp()):
        assert time.monotonic() < end
        time.sleep(0.01)


def _change_and_hide(folder: Path, name: str) -> None:
    """Another process makes a folder in it, and puts the old time of modification back."""
    subprocess.run([sys.executable, "-c", _CHANGE, folder, name], check=True, timeout=30)


def test_sorted_by_bytes(folder: Path, kept: str) -> None:
    """Names are sorted by their bytes."""
    names = ["b", "B", "a0", "a", "a.", "a-", "_", "é"]
    for name in names:
        (folder / name).touch()
    expected = sorted(names, key=str.encode)
    assert FolderLists().names(str(folder), kept) == expected


def test_no_folder(folder: Path, kept: str) -> None:
    """Where there is no folder there are no names: it is missing, or a file, or below a file; it may come later."""
    cache = FolderLists()
    (folder / "file").touch()
    for path in ("missing", "missing/too", "file", "file/below"):
        assert cache.names(str(folder / path), kept) == []
    (folder / "missing").mkdir()
    (folder / "missing/name").touch()
    assert cache.names(str(folder / "missing"), kept) == ["name"]


def test_meaning(folder: Path, kept: str) -> None:
    """Names are listed as what they stand for, in the order of that."""
    for name in ("a:b", "a-b", "a0", "a"):
        (folder / name).touch()
    found = FolderLists().names(str(folder), kept, lambda name: name.replace(":", "/"))
    assert found == ["a", "a-b", "a/b", "a0"]


@pytest.mark.parametrize("count", [3, LONG])
def test_kept_while_proved(folder: Path, kept: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proved list is not read again; a long one not even by another process. Any change has it read again."""
    reads: list[str] = []
    real = os.listdir

    def listdir(path: str) -> list[str]:
        reads.append(path)
        return real(path)

    names = _fill(folder, count)
    _wait_until_proved(folder)
    monkeypatch.setattr(os, "listdir", listdir)
    first, second = FolderLists(), FolderLists()
    assert first.names(str(folder), kept) == first.names(str(folder), kept) == names
    assert len(reads) == 1
    assert second.names(str(folder), kept) == second.names(str(folder), kept) == names
    assert len(reads) == (1 if count == LONG else 2)
    assert os.path.exists(kept) == (count == LONG)
    (folder / "n00001").unlink()
    for each in (first, second):
        assert each.names(str(folder), kept) == [name for name in names if name != "n00001"]


@pytest.mark.parametrize("count", [3, LONG])
@pytest.mark.parametrize("pause", [0.0, 0.15, 2.1])
def test_time_put_back(folder: Path, kept: str, count: int, pause: float) -> None:
    """A change is seen though another process put the folder's old time of modification back, soon or late."""
    names = _fill(folder, count)
    time.sleep(pause)
    first = FolderLists()
    assert first.names(str(folder), kept) == names
    for number in range(2):
        _change_and_hide(folder, f"x{number}")
        names.append(f"x{number}")
        assert first.names(str(folder), kept) == names
        assert FolderLists().names(str(folder), kept) == names
        time.sleep(pause)


@pytest.mark.parametrize("count", [3, LONG])
@pytest.mark.parametrize("pause", [0.0, 2.1])
def test_tags_and_catalog_time_put_back(
    stores: list[FilesystemStore], loop: asyncio.Runner, count: int, pause: float
) -> None:
    """Tag list and catalog are right though another process changed their folders and put the old times back."""
    store = stores[0]
    layout = store.layout
    loop.run(commit(store, ONE, SAMPLE, Tag("a-tag")))
    tags = os.path.dirname(layout.tag(ONE, Tag("a-tag")))
    for number in range(count):
        os.makedirs(f"{tags}/t{number:05}/current")
        os.link(layout.tag_current(ONE, Tag("a-tag")), f"{tags}/t{number:05}/current/link")
    time.sleep(pause)
    expected = ["a-tag", *(f"t{number:05}" for number in range(count))]
    for each in stores:
        assert loop.run(each.list_tags(ONE, "", LONG * 2)) == expected
        assert loop.run(each.list_repositories("", 10)) == [ONE]

    new = RepositoryName("library/new")
    times = {path: os.stat(path) for path in (tags, layout.catalog, f"{layout.repositories}/library")}
    os.rename(f"{tags}/a-tag", f"{tags}/b-tag")
    os.makedirs(os.path.dirname(layout.revision(new, SAMPLE.digest)))
    os.rename(layout.revision(ONE, SAMPLE.digest), layout.revision(new, SAMPLE.digest))
    os.rename(layout.catalog_mark(ONE), layout.catalog_mark(new))
    for path, status in times.items():
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    for each in stores:
        assert loop.run(each.list_repositories("", 10)) == [new]
    os.rename(f"{layout.repositories}/{ONE}", f"{layout.repositories}/{new}/inner")
    os.makedirs(layout.revisions(RepositoryName(f"{new}/inner")), exist_ok=True)
    inner = RepositoryName(f"{new}/inner")
    for each in stores:
        assert loop.run(each.list_tags(new, "", LONG * 2)) == []
    loop.run(commit(stores[1], inner, SAMPLE))
    for each in stores:
        assert loop.run(each.list_tags(inner, "", LONG * 2)) == ["b-tag", *expected[1:]]
        assert loop.run(each.list_repositories("", 10)) == [new, inner]


def test_never_stale_under_change(folder: Path, kept: str) -> None:
    """However fast a folder changes, the list asked after a change shows it: 3,000 changes at random moments."""
    dice, reader, other = random.Random(7), FolderLists(), FolderLists()
    present: set[str] = set()
    for number in range(3_000):
        name = f"n{dice.randrange(6)}"
        if name in present:
            (folder / name).rmdir()
        else:
            (folder / name).mkdir()
        present ^= {name}
        if dice.random() < 0.02:
            time.sleep(dice.random() * 0.15)
        assert reader.names(str(folder), kept) == sorted(present)
        if number % 3:
            assert other.names(str(folder), kept) == sorted(present)


def test_proof_needs_time() -> None:
    """A reading is proved when it began a tenth of a second after the last change, or two where times are coarse."""
    second = 1_000_000_000
    fine, coarse = 5 * second + 123_456_789, 5 * second
    for modified, changed in ((fine, fine), (fine - 7, fine), (fine, fine - 7)):
        proof = Proof(1, modified, changed)
        assert not proof.holds(fine)
        assert not proof.holds(fine + second // 10 - 1)
        if sys.platform == "linux":
            assert proof.holds(fine + second // 10)
        assert proof.holds(fine + 2 * second)
        assert not proof.holds(fine - second)
    for modified, changed in ((coarse, fine), (fine, coarse), (coarse, coarse)):
        latest = max(modified, changed)
        assert not Proof(1, modified, changed).holds(latest + 2 * second - 1)
        assert Proof(1, modified, changed).holds(latest + 2 * second)


def test_stamp_is_never_ahead(folder: Path) -> None:
    """A change made after a stamp was taken bears no earlier one: what the proof rests on."""
    for number in range(2_000):
        before = stamp()
        (folder / f"{number % 10}.{number}").touch()
        assert os.stat(folder).st_ctime_ns >= before


def test_one_reading_for_all_who_asked_before(folder: Path, kept: str) -> None:
    """What changes all the time is read once for all who asked before that began, and anew for who came later."""
    cache, asked = FolderLists(), time.monotonic()
    _fill(folder, 3)
    names = cache.names(str(folder), kept, asked=asked)
    (folder / "new").touch()
    assert cache.names(str(folder), kept, asked=asked) is names
    assert names == ["n00000", "n00001", "n00002"]
    for later in (time.monotonic(), math.inf):
        assert cache.names(str(folder), kept, asked=later) == ["n00000", "n00001", "n00002", "new"]
    shutil.rmtree(folder)
    assert cache.names(str(folder), kept, asked=asked) == []


def test_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists used least lately are dropped; what is dropped is read again."""
    monkeypatch.setattr(lists, "_MOST_IN_MEMORY", 50)
    cache = FolderLists()
    for number in range(20):
        folder = tmp_path / f"folder{number}"
        folder.mkdir()
        _fill(folder, 9)
    _wait_until_proved(folder)
    for _ in range(2):
        for number in range(20):
            path = str(tmp_path / f"folder{number}")
            assert cache.names(path, f"{path}.list") == [f"n{each:05}" for each in range(9)]
            assert sum(len(each.names) + 1 for each in cache._lists.values()) == cache._total <= 50


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content[:0],
        lambda content: content[:-1],
        lambda content: bytes(len(content)),
        lambda content: content[: len(content) // 2] + bytes(len(content) // 2),
        lambda content: content.replace(b"n00002", b"n00003"),
        lambda content: content[9:],
        lambda content: b"\xff" * len(content),
    ],
)
def test_spoiled_file(folder: Path, kept: str, spoil: object) -> None:
    """A kept list that a power cut or a bad disk has spoiled is known for that, and the folder is read."""
    names = _fill(folder, LONG)
    _wait_until_proved(folder)
    assert FolderLists().names(str(folder), kept) == names
    with open(kept, "r+b") as file:
        content = file.read()
        file.seek(0)
        file.truncate()
        assert callable(spoil)
        file.write(spoil(content))
    assert FolderLists().names(str(folder), kept) == names


def test_file_that_cannot_be_kept(folder: Path, tmp_path: Path) -> None:
    """A long list is right where its file cannot be written."""
    names = _fill(folder, LONG)
    _wait_until_proved(folder)
    (tmp_path / "file").touch()
    cache = FolderLists()
    for _ in range(2):
        assert cache.names(str(folder), str(tmp_path / "file" / "list")) == names


@pytest.mark.parametrize(
    "names", [[], ["a"], ["", "b"], ["\udcff\udcfe", "é"], [f"n{number}" for number in range(LONG)]]
)
def test_saved_and_loaded(kept: str, names: list[str]) -> None:
    """What is kept in a file is found there, under its title."""
    save_names(kept, "a title", names)
    assert load_title(kept) == "a title"
    assert load_names(kept) == ("a title", names)


def test_not_to_be_kept(kept: str, tmp_path: Path) -> None:
    """A name with a line break in it is not kept, and nothing is found where nothing was kept."""
    save_names(kept, "a title", ["one\ntwo"])
    for path in (kept, str(tmp_path / "missing/too")):
        assert load_names(path) == ("", [])
        assert load_title(path) == ""


def test_after() -> None:
    """Names after a given one are those that sort behind it, whether or not it is among them."""
    names = ["a", "b", "c"]
    for last, expected in (("", names), ("a", ["b", "c"]), ("aa", ["b", "c"]), ("c", []), ("z", [])):
        assert list(lists.after(names, last)) == expected
