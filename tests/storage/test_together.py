"""Syncs of many files and folders at once: by the kernel, where it does such a thing, and without it."""

from __future__ import annotations

import errno
import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from multiprocessing import get_context
from typing import TYPE_CHECKING

import pytest

from cargohold.storage import disk, together
from cargohold.storage.durable import Disk
from cargohold.storage.together import sync_together
from tests.e2e.clients.absence import require, unavailable

from .places import small_disk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MANY = 200
"""More than the kernel is asked for in one call."""


@contextmanager
def opened(folder: Path, count: int) -> Iterator[list[int]]:
    """Open files with something in them that is not synced, and a folder."""
    with ExitStack() as files:
        descriptors = []
        for number in range(count - 1):
            file = files.enter_context((folder / f"{number}").open("wb", buffering=0))
            file.write(b"bytes")
            descriptors.append(file.fileno())
        descriptors.append(os.open(folder, os.O_RDONLY))
        files.callback(os.close, descriptors[-1])
        yield descriptors


@pytest.fixture
def kernel(tmp_path: Path) -> None:
    """The kernel syncs several at a time here."""
    with opened(tmp_path, 2) as descriptors:
        if not sync_together(descriptors):
            unavailable("io_submit does not sync files here")


@contextmanager
def failing_disk(place: Path) -> Iterator[str]:
    """A device that takes what is written to it, and has no room for it when it is synced."""
    with small_disk(place, 256) as small:
        (small / "image").touch()
        os.truncate(small / "image", 8 << 20)
        made = subprocess.run(
            [require("losetup"), "--find", "--show", small / "image"],
            check=False,
            capture_output=True,
            text=True,
            timeout=30,
        )
        if made.returncode:
            unavailable(f"no device can be made of a file here: {made.stderr.strip()}")
        device = made.stdout.strip()
        try:
            yield device
        finally:
            subprocess.run(["losetup", "--detach", device], check=True, timeout=30)


@pytest.mark.usefixtures("kernel")
def test_all_are_taken(tmp_path: Path) -> None:
    """Every one of many is synced, folders too."""
    with opened(tmp_path, MANY) as descriptors:
        assert sync_together(descriptors) == [0] * MANY


@pytest.mark.usefixtures("kernel")
def test_what_is_not_taken_is_left_out() -> None:
    """What the kernel cannot sync together is left to the caller, with all that come after it."""
    reader, writer = os.pipe()
    try:
        assert sync_together([reader, writer]) == []
    finally:
        os.close(reader)
        os.close(writer)


@pytest.mark.usefixtures("kernel")
def test_errors_are_told(tmp_path: Path) -> None:
    """Of each the error is told that its sync ended with, and one of them is raised."""
    with opened(tmp_path, 2) as (file, folder), failing_disk(tmp_path / "small") as device:
        descriptor = os.open(device, os.O_RDWR)
        try:
            os.write(descriptor, os.urandom(4 << 20))
            assert sync_together([file, descriptor, folder]) == [0, errno.EIO, 0]
            os.pwrite(descriptor, os.urandom(4 << 20), 0)
            with pytest.raises(OSError, match="Input/output error"):
                disk.sync_all([file, descriptor, folder], (), Disk(str(tmp_path), bool).each)
        finally:
            os.close(descriptor)


def test_in_many_threads(tmp_path: Path) -> None:
    """Each caller waits for its own, whoever else asks meanwhile."""

    def sync(number: int) -> int:
        folder = tmp_path / f"{number}"
        folder.mkdir()
        with opened(folder, 5) as descriptors:
            return sum(sync_together(descriptors))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(sync, range(MANY))) == [0] * MANY


def sync_in_child(folder: Path) -> None:
    with opened(folder, 3) as descriptors:
        assert sync_together(descriptors) == [0, 0, 0]


@pytest.mark.usefixtures("kernel")
def test_after_a_fork(tmp_path: Path) -> None:
    """A child syncs as well, though it has none of the queues that its parent has used."""
    process = get_context("fork").Process(target=sync_in_child, args=(tmp_path,))
    process.start()
    process.join(30)
    assert process.exitcode == 0


def test_without_the_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has no such thing each is synced by itself, and an error is raised when all have ended."""
    monkeypatch.setattr(together, "_is_there", False)
    monkeypatch.setattr(together.Syncs, "_is_one_by_one", lambda _self, _count: False)
    synced: list[int] = []

    def several(function: together.Sync, descriptors: list[int]) -> None:
        synced.extend(descriptors)
        for descriptor in descriptors:
            function(descriptor)

    with opened(tmp_path, 5) as descriptors:
        assert sync_together(descriptors) == []
        disk.sync_all(descriptors, [str(tmp_path), str(tmp_path / "missing")], several)
        assert synced[:5] == descriptors
        assert len(synced) == 6
    with open(os.devnull, "rb") as device, pytest.raises(OSError, match="Invalid argument"):
        disk.sync_all([device.fileno()], (), several)


class Timed:
    """Syncs, counted, of which each takes as long as is said; all side by side take as long as one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, wake_up: float) -> None:
        self.now = self.each = 0.0
        self.one_by_one = self.side_by_side = 0
        self._wake_up = wake_up
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(os, "fsync", self._sync)
        monkeypatch.setattr(together, "sync_together", self._sync_together)

    def _sync(self, _: int) -> None:
        self.one_by_one += 1
        self.now += self.each

    def _sync_together(self, descriptors: list[int]) -> list[int]:
        self.side_by_side += len(descriptors)
        self.now += self.each + self._wake_up
        return [0] * len(descriptors)

    def shares(self, syncs: together.Syncs, count: int, at_once: int = 5) -> float:
        """The share of those that were synced one by one, of ten times as many calls as are said."""
        self.one_by_one = self.side_by_side = 0
        for _ in range(10 * count):
            syncs.sync([*range(at_once)], lambda _function, _descriptors: None)
        return self.one_by_one / (self.one_by_one + self.side_by_side)


def test_the_quicker_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a quick disk one is synced after the other, on a slow one all side by side, also where a disk changes."""
    timed, syncs = Timed(monkeypatch, wake_up=0.001), together.Syncs()
    timed.each = 0.00004
    assert timed.shares(syncs, 100) > 0.95
    timed.each = 0.01
    timed.shares(syncs, 100)
    assert timed.shares(syncs, 100) < 0.05
    timed.each = 0.00004
    timed.shares(syncs, 500)
    assert timed.shares(syncs, 100) > 0.95


def test_few_and_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is quicker for many says nothing of few, and the other way round."""
    timed, syncs = Timed(monkeypatch, wake_up=0.0005), together.Syncs()
    timed.each = 0.0001
    for _ in range(3):
        assert timed.shares(syncs, 100, at_once=3) > 0.95
        assert timed.shares(syncs, 100, at_once=30) < 0.05


def test_large_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """How long large ones take, one by one, says nothing of how to sync small ones."""
    timed, syncs = Timed(monkeypatch, wake_up=0.001), together.Syncs()
    timed.each = 0.00004
    assert timed.shares(syncs, 100) > 0.95
    timed.each = 0.01
    for _ in range(100):
        syncs.sync([*range(5)], lambda _function, _descriptors: None, are_small=False)
    timed.each = 0.00004
    assert timed.shares(syncs, 1) > 0.85


def test_one_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is one file to sync, nobody else is woken for it."""
    timed, syncs = Timed(monkeypatch, wake_up=0.001), together.Syncs()
    timed.each = 0.01
    for _ in range(200):
        syncs.sync([1], lambda _function, _descriptors: None)
    assert (timed.one_by_one, timed.side_by_side) == (200, 0)
