"""A tree whose tags and links are not in the tree."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.interop.conftest import Serve


def test_database_in_use(root: Path) -> None:
    """A tree that a GitLab registry serves with a metadata database is refused with the reason, and left as it is."""
    mark = root / "docker/registry/lockfiles/database-in-use"
    mark.parent.mkdir(parents=True)
    mark.write_bytes(b"")
    done = subprocess.run(
        [Path(sys.executable).parent / "cargohold", "serve", "--storage-path", root, "--port", "0"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert "GitLab" in done.stderr
    assert "database-in-use" in done.stderr
    assert str(root) in done.stderr
    assert "Traceback" not in done.stderr
    assert [path for path in root.rglob("*") if path.is_file()] == [mark]


@pytest.mark.parametrize("name", ["filesystem-in-use", "database-in-use.old"])
def test_other_lock_files(cargohold: Serve, root: Path, name: str) -> None:
    """Other lock files of that registry say that the tree is all there is: it is served."""
    mark = root / "docker/registry/lockfiles" / name
    mark.parent.mkdir(parents=True)
    mark.write_bytes(b"")
    with cargohold() as ours:
        assert ours.catalog() == []
