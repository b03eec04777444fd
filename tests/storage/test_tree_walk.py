"""Walks over the tree: which repositories there are."""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from cargohold.storage.filesystem import walk
from cargohold.storage.filesystem.walk import (
    Below,
    KnownFolders,
    read_folder,
    repositories,
    repositories_and_aliases,
)

from .recorder import folders_read

if TYPE_CHECKING:
    from pathlib import Path

    from cargohold.types.names import RepositoryName


def _make(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).mkdir(parents=True, exist_ok=True)


def test_finds(tmp_path: Path) -> None:
    """A repository is whatever has layers, manifests or uploads, at any depth, below others too; each once."""
    _make(tmp_path, "a/_layers", "a/b/_manifests", "a/b/c/d/_uploads", "a-b/_layers", "a-b/_uploads")
    assert list(repositories(str(tmp_path))) == ["a", "a-b", "a/b", "a/b/c/d"]


def test_in_order(tmp_path: Path) -> None:
    """They come in the order of their names' bytes, and after any name without a look at all that is before it."""
    names = sorted(
        [
            *(
                "a",
                "a-b",
                "a-b/c",
                "a.b",
                "a/b",
                "a/b-c/d",
                "a/b/c",
                "a/b0/c/d/e",
                "a0",
                "a_b",
                "ab/c",
                "b/c/d",
            ),
            *(f"{first}{number:02}/{second}" for first in "cz" for number in range(50) for second in "xy"),
        ]
    )
    _make(tmp_path, *(f"{name}/_layers" for name in names))
    for after in (
        "",
        "-",
        "a-",
        "a/",
        "a b",
        "a+x",
        "a/!",
        "a/b/",
        "a0/",
        "b",
        "b/c",
        "c49/y",
        "z",
        "z49/y",
        "zz",
        *names,
    ):
        assert list(repositories(str(tmp_path), after=after)) == [name for name in names if name > after]
    looked = list[str]()

    def look(folder: str, name: RepositoryName | None) -> Below:
        looked.append(name or "")
        return read_folder(folder, name)

    assert next(repositories(str(tmp_path), look, "c48/x")) == "c48/y"
    assert looked == ["", "c48", "c48/x", "c48/y"]


def test_passes_over(tmp_path: Path) -> None:
    """Names that are none, folders that are empty, files, and the folder itself are no repositories."""
    _make(tmp_path, "_layers", "Upper/_layers", "a b/_layers", ".hidden/_layers", "_own/a/_layers", "empty")
    _make(tmp_path, "Upper/below/_layers", "a/_cargohold", "ok/_layers/sub/_layers", "-x/_layers")
    os.mkdir(os.fsencode(tmp_path) + b"/\xff")
    (tmp_path / "file").touch()
    long = "/".join(["x" * 200, "y" * 54, "z"])
    _make(tmp_path, f"{long}/_layers", f"{'x' * 200}/{'y' * 54}/_layers")
    assert list(repositories(str(tmp_path))) == ["ok", f"{'x' * 200}/{'y' * 54}"]


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


def _wait_until_proved() -> None:
    """Longer than what has just changed is not believed."""
    time.sleep(0.15)


@pytest.mark.parametrize("most", [walk._MOST_KNOWN, 2])
def test_known_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """What is known of folders is what another process has made of them, whether they were proved before or not."""
    monkeypatch.setattr(walk, "_MOST_KNOWN", most)
    known, root = KnownFolders(), str(tmp_path)
    _make(tmp_path, "a/_layers", "empty", "b/c/_layers")
    changes = {
        'mkdir -p "$1/a/nested/_uploads" "$1/empty/_manifests"': {"a", "b/c", "a/nested", "empty"},
        'rm -r "$1/a/_layers" "$1/b"': {"a/nested", "empty"},
        'mv "$1/a" "$1/z"; mkdir -p "$1/a/_layers"': {"z/nested", "a", "empty"},
        'rmdir "$1/empty/_manifests"; touch "$1/b"': {"z/nested", "a"},
        'rm "$1/b"; mkdir -p "$1/b/c/d/_layers"': {"z/nested", "a", "b/c/d"},
    }
    assert set(repositories(root, known.look)) == {"a", "b/c"}
    for change, expected in changes.items():
        _wait_until_proved()
        before = set(repositories(root, known.look))
        assert before == set(repositories(root))
        subprocess.run(["sh", "-c", change, "sh", root], check=True, timeout=30)
        assert set(repositories(root, known.look)) == expected
    assert len(known._known) <= most


def test_known_folders_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that is proved to be as it was is not read again; one that is not there any more is passed over."""
    _make(tmp_path, "a/b/_layers", "c/_layers")
    known, root = KnownFolders(), str(tmp_path)
    _wait_until_proved()
    assert set(repositories(root, known.look)) == {"a/b", "c"}
    read = folders_read(monkeypatch, "scandir")
    assert set(repositories(root, known.look)) == {"a/b", "c"}
    assert read == []
    _make(tmp_path, "c/d/_layers")
    assert set(repositories(root, known.look)) == {"a/b", "c", "c/d"}
    assert read == [f"{root}/c", f"{root}/c/d"]


def _aliases(root: Path) -> tuple[dict[str, bool], dict[str, str]]:
    """The repositories, and whether each may have two names; and what cannot be read."""
    failed: dict[str, str] = {}
    found = list(
        repositories_and_aliases(
            str(root), lambda: None, lambda name, error: failed.update({name: str(error.strerror)})
        )
    )
    names = {str(name): has_two for name, has_two in found}
    assert len(names) == len(found)
    return names, failed


def test_two_names(tmp_path: Path) -> None:
    """What a link leads to has two names, and is told by both, above and below the link; what has one is not."""
    root = tmp_path / "root"
    _make(root, "real/_layers", "team/app/_layers", "team/app/below/_layers", "other/_layers")
    _make(tmp_path, "elsewhere/_layers")
    (root / "alias").symlink_to("real")
    (root / "linked").symlink_to("team")
    (root / "outside").symlink_to(tmp_path / "elsewhere")
    (root / "other/circle").symlink_to("..")
    (root / "loop").symlink_to("loop")
    (root / "file").symlink_to("/dev/null")
    names, failed = _aliases(root)
    assert {name for name, has_two in names.items() if not has_two} == {"other"}
    assert {"real", "alias", "team/app", "linked/app", "team/app/below", "outside"} < names.keys()
    assert failed == {}


def test_what_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its name, as a link that leads nowhere, and the others are found; where nothing can be read it raises."""
    _make(tmp_path, "a/_layers", "locked/_layers", "z/_layers")
    (tmp_path / "nowhere").symlink_to("/not/mounted")
    locked = str(tmp_path / "locked")
    real = os.scandir

    def scandir(path: str) -> object:
        if path == locked:
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert _aliases(tmp_path) == (
        {"a": False, "z": False},
        {"locked": "Permission denied", "nowhere": "No such file or directory"},
    )
    with pytest.raises(PermissionError):
        _aliases(tmp_path / "locked")
