"""A power cut while what is not needed any more is used again: what was in it does not come back as another's."""

from __future__ import annotations

import asyncio
import random
import shutil
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from cargohold.storage import spares
from cargohold.storage.durable import Change, Disk
from cargohold.storage.filesystem import FilesystemStore
from cargohold.types.digest import Algorithm
from tests.crash.calls import surrounded
from tests.crash.power import Order, leave
from tests.crash.recording import Began, Recorder
from tests.e2e.medium import folder_in_memory
from tests.storage.contract.base import ONE, OTHER, push, started

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CUTS = 200
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


def begin_sessions(recorder: Recorder, root: Path) -> None:
    """A session begins where another has ended."""

    async def work() -> None:
        with closing(FilesystemStore(str(root))) as store:
            store.prepare()
            await push(store, OTHER, b"a blob")
            await store.cancel_upload(ONE, await started(store, ONE, b"theirs"))
            store.disk.removals.close()
            recorder.note(Began())
            await store.create_upload(OTHER, Algorithm.SHA256)

    asyncio.run(work())


def left_at_every_moment(
    folder: Path,
    do: Callable[[Recorder, Path], None],
    omits: Callable[[str, str], bool] = lambda _name, _path: False,
) -> Iterator[Path]:
    """What power cuts leave of it, on a disk that writes down names in whatever order."""
    root, left = folder / "whole", folder / "left"
    recorder = Recorder(str(root), omits)
    root.mkdir()
    with surrounded(recorder.around):
        do(recorder, root)
    first = next(index for index, event in enumerate(recorder.events) if isinstance(event, Began))
    for moment in range(first, len(recorder.events) + 1):
        for number in range(CUTS):
            leave(recorder.events[:moment], recorder.folders, random.Random(number), Order.FREE, left)
            yield left
            shutil.rmtree(left)


def links(folder: Path) -> set[bytes]:
    """What the tag has pointed to after the cuts; empty where it was not there."""
    found = (left / "tag/link" for left in left_at_every_moment(folder, move_tags))
    return {link.read_bytes() if link.exists() else b"" for link in found}


def sessions(folder: Path, omits: Callable[[str, str], bool] = lambda _name, _path: False) -> set[bytes]:
    """What sessions of the other repository have held after the cuts."""
    return {
        data.read_bytes()
        for left in left_at_every_moment(folder, begin_sessions, omits)
        for data in left.rglob(f"{OTHER}/_uploads/*/data")
    }


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


def test_a_folder_of_an_ended_session(folder: Path) -> None:
    """A session that has just begun holds nothing, and never what another has held."""
    assert sessions(folder) == {b""}


def test_a_folder_that_is_not_synced(folder: Path) -> None:
    """Were an ended session's folder not synced before another has it, that would hold the bytes of the first."""
    found = sessions(folder, lambda name, path: name == "sync_folder" and "/cargohold/new/" in path)
    assert len(found) > 1
