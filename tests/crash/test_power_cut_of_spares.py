"""A power cut while the file of a link that was replaced is written again: a tag never points to what is another's."""

from __future__ import annotations

import random
import shutil
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from cargohold.storage import spares
from cargohold.storage.change import Change
from cargohold.storage.durable import Disk
from tests.crash.calls import surrounded
from tests.crash.power import Order, leave
from tests.crash.recording import Began, Recorder
from tests.e2e.medium import folder_in_memory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CUTS = 60
"""At each moment."""
OLD, NEW, OTHERS = (b"sha256:" + letter * 64 for letter in (b"a", b"b", b"c"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """In memory. What was replaced is written again at once."""
    monkeypatch.setattr(spares, "REST", 0.0)
    with folder_in_memory(otherwise=tmp_path) as made:
        yield made


def replaced(disk: Disk, root: Path, name: str, content: bytes) -> Change:
    """A link that is in place, and is not settled yet."""
    change = Change(disk, f"{root}/new")
    change.replace(f"{root}/{name}/link", content)
    change.stage()
    change.place()
    return change


def move_tags(recorder: Recorder, root: Path) -> None:
    """Another tag is made while the move of one has not been settled."""
    with closing(Disk(str(root), bool)) as disk:
        disk.make_folders(f"{root}/new")
        replaced(disk, root, "tag", OLD).settle()
        recorder.note(Began())
        unsettled = replaced(disk, root, "tag", NEW)
        replaced(disk, root, "other", OTHERS).settle()
        unsettled.settle()


def left_at_every_moment(folder: Path) -> Iterator[Path]:
    """What power cuts leave of it, on a disk that writes down names in whatever order."""
    root, left = folder / "whole", folder / "left"
    recorder = Recorder(str(root))
    root.mkdir()
    with surrounded(recorder.around):
        move_tags(recorder, root)
    first = next(index for index, event in enumerate(recorder.events) if isinstance(event, Began))
    for moment in range(first, len(recorder.events) + 1):
        for number in range(CUTS):
            leave(recorder.events[:moment], recorder.folders, random.Random(number), Order.FREE, left)
            yield left
            shutil.rmtree(left)


def links(folder: Path) -> set[bytes]:
    """What the tag has pointed to after the cuts; empty where it was not there."""
    found = (left / "tag/link" for left in left_at_every_moment(folder))
    return {link.read_bytes() if link.exists() else b"" for link in found}


def test_a_replaced_link(folder: Path) -> None:
    """A tag that is being moved points to the one or to the other, whatever was written meanwhile."""
    assert links(folder) == {OLD, NEW}


def test_a_replaced_link_that_is_written_too_early(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were a link written again before its successor's name is durable, a tag would point to what is another's."""

    def replace(disk: Disk, path: str, target: str) -> bool:
        if real(disk, path, target):
            disk.spare(path)
        return False

    real = Disk.replace
    monkeypatch.setattr(Disk, "replace", replace)
    assert OTHERS in links(folder)
