"""Walks over the tree: which repositories there are."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from cargohold.storage.filesystem.walk import repositories

if TYPE_CHECKING:
    from pathlib import Path


def _make(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).mkdir(parents=True, exist_ok=True)


def test_finds(tmp_path: Path) -> None:
    """A repository is whatever has layers, manifests or uploads, at any depth, below others too; each once."""
    _make(tmp_path, "a/_layers", "a/b/_manifests", "a/b/c/d/_uploads", "a-b/_layers", "a-b/_uploads")
    assert sorted(repositories(str(tmp_path))) == ["a", "a-b", "a/b", "a/b/c/d"]


def test_passes_over(tmp_path: Path) -> None:
    """Names that are none, folders that are empty, files, and the folder itself are no repositories."""
    _make(tmp_path, "_layers", "Upper/_layers", "a b/_layers", ".hidden/_layers", "_own/a/_layers", "empty")
    _make(tmp_path, "Upper/below/_layers", "a/_cargohold", "ok/_layers/sub/_layers", "-x/_layers")
    os.mkdir(os.fsencode(tmp_path) + b"/\xff")
    (tmp_path / "file").touch()
    long = "/".join(["x" * 200, "y" * 54, "z"])
    _make(tmp_path, f"{long}/_layers", f"{'x' * 200}/{'y' * 54}/_layers")
    assert sorted(repositories(str(tmp_path))) == ["ok", f"{'x' * 200}/{'y' * 54}"]


def test_links_are_not_followed(tmp_path: Path) -> None:
    """A symbolic link is passed over, so that a walk always ends."""
    _make(tmp_path, "a/_layers")
    (tmp_path / "a/circle").symlink_to("..")
    (tmp_path / "linked").symlink_to("a")
    (tmp_path / "nowhere").symlink_to("missing")
    assert list(repositories(str(tmp_path))) == ["a"]


def test_no_tree(tmp_path: Path) -> None:
    """Where there is no folder there are no repositories."""
    assert list(repositories(str(tmp_path / "missing"))) == []
    (tmp_path / "file").touch()
    assert list(repositories(str(tmp_path / "file"))) == []


def test_removed_meanwhile(tmp_path: Path) -> None:
    """Folders that others remove during the walk are no error."""
    _make(tmp_path, *(f"r{number}/_layers" for number in range(50)))
    found = []
    for name in repositories(str(tmp_path)):
        found.append(name)
        for number in range(50):
            folder = tmp_path / f"r{number}"
            if folder.exists():
                (folder / "_layers").rmdir()
                folder.rmdir()
    assert len(found) == 1


def test_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that may not be read is passed over with what is in it; if it is the first, that is told."""
    _make(tmp_path, "a/_layers", "locked/_layers", "locked/below/_layers", "z/_layers")
    locked = str(tmp_path / "locked")
    real = os.scandir

    def scandir(path: str) -> object:
        # Root may read every folder, and tests may be run by root.
        if path == locked:
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert sorted(repositories(str(tmp_path))) == ["a", "z"]
    with pytest.raises(PermissionError):
        list(repositories(locked))
