"""`cargohold import` where there is no registry yet."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest

from tests.cli.test_command import SCRIPT, run
from tests.e2e.clients.absence import require_root
from tests.e2e.dangling import faults
from tests.interop.peer import Peer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.conftest import Start
    from tests.e2e.server import Server

OTHER = 65532  # a user that is not root


@pytest.fixture
def server(start: Start, tmp_path: Path) -> Server:
    """A registry of two images, which have been exported to `images.tar`."""
    started = start()
    with Peer(started.url) as peer:
        peer.push("team/app", "v1", "latest", text="app")
        peer.push("other", "v1", text="oth")
    words = ("--to", str(tmp_path / "images.tar"), "--storage-path", str(started.storage))
    assert run(SCRIPT, "export", *words).returncode == 0
    return started


@pytest.mark.parametrize("place", ["images.tar", "-"])
def test_a_new_registry(place: str, server: Server, start: Start, tmp_path: Path) -> None:
    """An import makes the registry where there is none, and a server serves what it has stored there."""
    new = tmp_path / "far/new"
    words = "$0 import - --storage-path $1 < $2" if place == "-" else "$0 import $2 --storage-path $1"
    images = str(tmp_path / "images.tar")
    imported = run("sh", "-c", words, str(SCRIPT), str(new), images)
    assert (imported.returncode, imported.stderr) == (0, f"a registry is made in {new}\n")
    assert faults(new) == []
    with Peer(start(storage=new).url) as peer, Peer(server.url) as source:
        assert peer.catalog() == source.catalog()
        assert peer.tags("team/app") == ["latest", "v1"]
    again = run("sh", "-c", words, str(SCRIPT), str(new), images)
    assert (again.returncode, again.stderr) == (0, "")


@pytest.mark.usefixtures("server")
def test_where_no_registry_is_made(tmp_path: Path) -> None:
    """Not for a dry run, nor where storing is not allowed, nor where the folder cannot be made."""
    (tmp_path / "file").write_text("x")
    new, images = str(tmp_path / "new"), str(tmp_path / "images.tar")
    for words, message in (
        (("--storage-path", new, "--dry-run"), f"no registry has its data in {new}: "),
        (("--storage-path", new, "--set", "read_only=true"), "the setting read_only is true: "),
        (
            ("--storage-path", f"{tmp_path}/file/new"),
            f"no registry can be made in {tmp_path}/file/new: ",
        ),
    ):
        ran = run(SCRIPT, "import", images, *words)
        assert (ran.returncode, ran.stdout) == (1, "")
        assert ran.stderr.startswith(f"cargohold: {message}")
        assert ran.stderr.count("\n") == 1
    assert {each.name for each in tmp_path.iterdir()} == {"file", "images.tar"}


@pytest.mark.usefixtures("server")
def test_a_registry_that_root_makes(tmp_path: Path) -> None:
    """It belongs to whom the folder belongs that it is made in, so that a server of that user can use it."""
    require_root()
    (tmp_path / "theirs").mkdir()
    os.chown(tmp_path / "theirs", OTHER, OTHER)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_mode & 0o777 == 0o700:
            folder.chmod(0o755)
    ran = run(SCRIPT, "import", str(tmp_path / "images.tar"), "--storage-path", str(tmp_path / "theirs/new"))
    assert ran.returncode == 0
    assert {path.stat().st_uid for path in (tmp_path / "theirs").rglob("*")} == {OTHER}


@pytest.mark.usefixtures("server")
def test_where_no_image_is_taken(tmp_path: Path) -> None:
    """What is stored all the same, layers of what is refused, is told apart."""
    layers_alone = '[{"repository": "**", "bytes": "3100B", "each": true}]'
    words = ("--storage-path", str(tmp_path / "new"), "--set", f"quotas={layers_alone}")
    ran = run(SCRIPT, "import", str(tmp_path / "images.tar"), *words)
    assert ran.returncode == 1
    assert re.fullmatch(
        r"0 images with 0 tags imported; 5\.9 KiB are stored of what was refused\n", ran.stdout
    )
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (tmp_path / "empty/index.json").write_text('{"schemaVersion": 2, "manifests": []}')
    ran = run(SCRIPT, "import", str(tmp_path / "empty"), *words)
    assert (ran.returncode, ran.stdout) == (0, "0 images with 0 tags imported\n")
