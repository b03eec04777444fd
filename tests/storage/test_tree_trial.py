"""What is wrong with a disk, as it is found out by using it."""

from __future__ import annotations

import asyncio
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from cargohold.storage.filesystem import FilesystemStore
from cargohold.storage.protocols import Full, Unavailable
from tests.storage.places import fill, read_only_view, small_disk

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path


def prepared(root: Path) -> FilesystemStore:
    store = FilesystemStore(str(root))
    store.prepare()
    return store


def run(trial: Coroutine[None, None, None]) -> None:
    asyncio.run(trial)


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    """A trial leaves the tree as it was."""
    store = prepared(tmp_path / "data")
    before = sorted(os.walk(tmp_path))
    for _ in range(3):
        run(store.try_reading())
        run(store.try_writing())
    assert sorted(os.walk(tmp_path)) == before
    store.close()


def test_a_full_disk(tmp_path: Path) -> None:
    """It can be read and not written to; nothing is left of what was tried; room that comes back is found."""
    with small_disk(tmp_path / "disk", 1024) as disk:
        store = prepared(disk / "data")
        filler = fill(disk)
        run(store.try_reading())
        for _ in range(3):
            with pytest.raises(Full):
                run(store.try_writing())
        assert os.listdir(disk / "data/cargohold/new") == []
        filler.unlink()
        run(store.try_writing())
        store.close()


def test_a_disk_that_is_only_read(tmp_path: Path) -> None:
    """It can be read and not written to."""
    prepared(tmp_path / "data").close()
    with read_only_view(tmp_path / "data", tmp_path / "view") as view:
        store = FilesystemStore(str(view))
        run(store.try_reading())
        with pytest.raises(Unavailable, match="Read-only file system"):
            run(store.try_writing())
        store.close()


def test_a_disk_that_is_gone(tmp_path: Path) -> None:
    """What lies below a mount that is no more is not taken for the tree, and nothing is made there."""
    store = prepared(tmp_path / "data")
    shutil.rmtree(tmp_path / "data")
    with pytest.raises(Unavailable, match="No such file"):
        run(store.try_reading())
    (tmp_path / "data").mkdir()
    with pytest.raises(Unavailable, match="No such file"):
        run(store.try_writing())
    store.close()


def test_a_read_only_disk_that_is_gone(tmp_path: Path) -> None:
    """An empty tree can be read; where there was one, an empty folder in its place cannot."""
    (tmp_path / "data").mkdir()
    store = FilesystemStore(str(tmp_path / "data"))
    run(store.try_reading())
    store.prepare()
    run(store.try_reading())
    shutil.rmtree(tmp_path / "data")
    (tmp_path / "data").mkdir()
    with pytest.raises(Unavailable, match="No such file"):
        run(store.try_reading())
    assert os.listdir(tmp_path / "data") == []
    store.close()


def test_what_is_ours_alone_may_be_gone(tmp_path: Path) -> None:
    """A tree whose folder of our own was removed while it is served can be written to, as by a push."""
    store = prepared(tmp_path / "data")
    shutil.rmtree(tmp_path / "data/cargohold")
    run(store.try_writing())
    store.close()
