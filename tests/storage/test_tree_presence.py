"""Which of many names have their file: as it is when it is asked, however many ask at the same time."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

import pytest

from cargohold.storage.filesystem import FilesystemStore, listing, presence
from cargohold.storage.filesystem.presence import Rounds, present
from cargohold.types.names import Tag

from .contract.base import LATEST, ONE, commit, sample

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SAMPLE = sample("anything")
FILE = "in/link"
LIMIT = 10.0
SHORT = 50  # names in a piece, for lists that need not be long

_REMOVE = "import os, sys\nfor path in sys.argv[1:]: os.unlink(path)"


class Looks:
    """Looks that end when they are let, and find all but what is gone by then."""

    def __init__(self) -> None:
        self.pieces: list[list[str]] = []
        self.gone: set[str] = set()
        self._more, self._let = asyncio.Event(), asyncio.Semaphore(0)

    async def __call__(self, piece: Sequence[str]) -> list[str]:
        self.pieces.append(list(piece))
        self._more.set()
        found = [name for name in piece if name not in self.gone]
        await asyncio.wait_for(self._let.acquire(), LIMIT)
        return found

    async def has_begun(self, count: int) -> None:
        """Wait until so many were begun."""
        while len(self.pieces) < count:
            self._more.clear()
            await asyncio.wait_for(self._more.wait(), LIMIT)

    def end(self, count: int = 1) -> None:
        """Let so many more come to their end."""
        for _ in range(count):
            self._let.release()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A list of five pieces, of two names each but for the last."""
    monkeypatch.setattr(presence, "PIECE", 2)
    return [f"n{number}" for number in range(9)]


def _make(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name / FILE).parent.mkdir(parents=True)
        (folder / name / FILE).touch()


def test_present(tmp_path: Path) -> None:
    """Those names are found whose file is there, in the order in which they were given."""
    _make(tmp_path, "b", "c", "a")
    (tmp_path / "empty/in").mkdir(parents=True)
    (tmp_path / "file").touch()
    assert present(str(tmp_path), ["c", "empty", "file", "a", "missing", "b"], FILE) == ["c", "a", "b"]
    for nowhere in ("missing", "file", "file/below"):
        assert present(str(tmp_path / nowhere), ["a"], FILE) == []


def test_what_cannot_be_looked_at(tmp_path: Path) -> None:
    """That a file cannot be looked at is told, and not taken for its absence."""
    _make(tmp_path, "a")
    with pytest.raises(OSError, match="too long"):
        present(str(tmp_path), ["a", "b" * 300], FILE)
    with pytest.raises(OSError, match="too long"):
        present(str(tmp_path / ("b" * 300)), ["a"], FILE)


@pytest.mark.usefixtures("loop")
async def test_one_alone(names: list[str]) -> None:
    """One who asks alone has each piece looked at once, in order; so has the next, and then nothing is looked at."""
    rounds, looks = Rounds(), Looks()
    looks.end(10)
    assert await rounds.result(names, looks) == names
    looks.gone = {"n3", "n8"}
    assert await rounds.result(names, looks) == [name for name in names if name not in looks.gone]
    await asyncio.sleep(0)
    assert looks.pieces == [names[at : at + 2] for at in (0, 2, 4, 6, 8)] * 2


@pytest.mark.usefixtures("loop")
async def test_joins_where_it_is(names: list[str]) -> None:
    """Who comes during a round is told only what was looked at afterwards, whoever else asks.

    What had gone before it came it is not told, though others still are; each piece is looked at once more at most.
    """
    rounds, looks = Rounds(), Looks()
    first = asyncio.ensure_future(rounds.result(names, looks))
    looks.end(2)
    await looks.has_begun(3)
    looks.gone = {"n0", "n5", "n8"}
    second = asyncio.ensure_future(rounds.result(names, looks))
    third = asyncio.ensure_future(rounds.result(names, looks))
    await asyncio.sleep(0)
    looks.end(6)
    async with asyncio.timeout(LIMIT):
        assert await first == [name for name in names if name != "n8"]
        left = [name for name in names if name not in looks.gone]
        assert await second == await third == left
    assert len(looks.pieces) == 8


@pytest.mark.usefixtures("loop")
async def test_one_piece_at_a_time(names: list[str]) -> None:
    """Rounds of several lists take turns, piece by piece, and tell each what is its own."""
    rounds, looks, other = Rounds(), Looks(), [f"o{number}" for number in range(4)]
    asked = [asyncio.ensure_future(rounds.result(each, looks)) for each in (names, other)]
    await looks.has_begun(1)
    await asyncio.sleep(0)
    assert len(looks.pieces) == 1
    looks.end(7)
    assert await asyncio.wait_for(asyncio.gather(*asked), LIMIT) == [names, other]
    assert [piece[0] for piece in looks.pieces] == ["n0", "o0", "n2", "o2", "n4", "n6", "n8"]


@pytest.mark.usefixtures("loop")
async def test_a_look_that_fails(names: list[str]) -> None:
    """An error of a look is told to all who wait for it, and who asks next has a round of its own."""
    rounds, looks = Rounds(), Looks()

    async def fail(_piece: Sequence[str]) -> list[str]:
        gone.cancel()
        raise OSError("a bad disk")

    gone = asyncio.ensure_future(rounds.result(names, fail))
    asked = [asyncio.ensure_future(rounds.result(names, fail)) for _ in range(3)]
    for each in asked:
        with pytest.raises(OSError, match="a bad disk"):
            await asyncio.wait_for(each, LIMIT)
    looks.end(5)
    assert await asyncio.wait_for(rounds.result(names, looks), LIMIT) == names


@pytest.mark.usefixtures("loop")
async def test_who_goes_away(names: list[str]) -> None:
    """One who does not wait for the answer any more keeps nobody from it, and nothing is looked at for it."""
    rounds, looks = Rounds(), Looks()
    gone = asyncio.ensure_future(rounds.result(names, looks))
    await looks.has_begun(1)
    stays = asyncio.ensure_future(rounds.result(names, looks))
    await asyncio.sleep(0)
    gone.cancel()
    looks.end(6)
    assert await asyncio.wait_for(stays, LIMIT) == names
    assert len(looks.pieces) == 6
    gone = asyncio.ensure_future(rounds.result(names, looks))
    await looks.has_begun(7)
    gone.cancel()
    looks.end(10)
    await asyncio.wait({gone}, timeout=LIMIT)
    await asyncio.sleep(0.01)
    assert gone.cancelled()
    assert len(looks.pieces) == 7


@pytest.mark.usefixtures("loop")
async def test_tags_of_a_long_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of however many tags none is listed whose link another process has removed, nor is one missed that it made.

    The folder that the tags are in does not change by that.
    """
    for each in (listing, presence):
        monkeypatch.setattr(each, "PIECE", SHORT)
    with closing(FilesystemStore(str(tmp_path / "data"))) as store:
        store.prepare()
        await commit(store, ONE, SAMPLE, LATEST)
        folder, link = store.layout.tags(ONE), store.layout.tag_current(ONE, LATEST)
        expected = [f"t{number:05}" for number in range(2 * SHORT + 10)]
        for name in expected:
            os.makedirs(f"{folder}/{name}/current")
            os.link(link, f"{folder}/{name}/current/link")
        os.mkdir(f"{folder}/.none")
        os.mkdir(f"{folder}/later")
        await asyncio.sleep(0.15)
        before = os.stat(folder).st_mtime_ns
        assert await store.list_tags(ONE, "", len(expected) * 2) == [LATEST, *expected]
        removed = [expected.pop(number) for number in (SHORT * 2 + 5, SHORT - 1, 0)]
        links = [store.layout.tag_current(ONE, Tag(name)) for name in removed]
        remove = partial(subprocess.run, [sys.executable, "-c", _REMOVE, *links], check=True, timeout=30)
        await asyncio.to_thread(remove)
        os.mkdir(f"{folder}/later/current")
        os.link(link, f"{folder}/later/current/link")
        expected = ["later", LATEST, *expected]
        whole, rest = await asyncio.gather(
            *(store.list_tags(ONE, after, len(expected) * 2) for after in ("", "t00002"))
        )
        assert whole == expected
        assert rest == expected[4:]
        assert await store.list_tags(ONE, "", SHORT + 5) == expected[: SHORT + 5]
        assert os.stat(folder).st_mtime_ns == before
