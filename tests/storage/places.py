"""File systems of a test's own: a small one, and the read-only view of a folder that others write to."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def small_disk(place: Path, kibibytes: int) -> Iterator[Path]:
    """An empty file system at `place`."""
    place.mkdir()
    _mount("-t", "tmpfs", "-o", f"size={kibibytes}k", "tmpfs", str(place))
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True, timeout=30)


@contextmanager
def read_only_view(folder: Path, place: Path) -> Iterator[Path]:
    """The same folder at `place`, where nobody can write."""
    place.mkdir()
    _mount("--bind", str(folder), str(place))
    try:
        _mount("-o", "remount,bind,ro", str(place))
        yield place
    finally:
        subprocess.run(["umount", place], check=True, timeout=30)


def fill(disk: Path) -> Path:
    """Take all the room that is left, by one file."""
    file = disk / "filler"
    with file.open("wb", buffering=0) as filler:
        for size in (65536, 4096, 512, 1):
            try:
                while True:
                    filler.write(b"x" * size)
            except OSError:
                continue
    return file


def _mount(*words: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a file system")
    subprocess.run(["mount", *words], check=True, timeout=30)
