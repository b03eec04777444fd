"""`cargohold check-config` says of a storage what the server would find."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from cargohold.cli.ownership import acting_for_owner
from tests.cli.test_check_config import MAKE, check, problems, summary, users
from tests.cli.test_command import SCRIPT, run
from tests.storage.places import fill, small_disk

__all__ = ["users"]


def test_read_only(tmp_path: Path) -> None:
    """Where nothing will be stored, the storage must be there, and need not be writable."""
    words = ["--port", "0", "--set", "read_only=true", "--storage-path"]
    assert "cannot read" in check(*words, str(tmp_path / "data")).stderr
    assert summary(check(*words, "/proc"))["content"] == "can be pulled, and not changed"
    assert "cannot write in /proc" in check(*words[:2], "--storage-path", "/proc").stderr


def test_read_only_on_a_path_that_is_mistyped(tmp_path: Path) -> None:
    """As little as check-config does serve take a storage that is not there for one that is only to be read."""
    words = ["--port", "0", "--set", "read_only=true", "--storage-path", str(tmp_path / "data")]
    ran = run(SCRIPT, "serve", *words)
    assert ran.returncode == 1
    assert f"cannot serve {tmp_path}/data: {tmp_path}/data: No such file or directory" in ran.stderr
    assert not [*tmp_path.iterdir()]


def test_a_full_disk(tmp_path: Path) -> None:
    """A disk that has no room for a block is told of, as /health/ready would."""
    with small_disk(tmp_path / "disk", 1024) as disk:
        words = ["--port", "0", "--storage-path", str(disk / "data")]
        assert check(*words).exit_code == 0
        fill(disk)
        result = check(*words)
    assert result.exit_code == 1
    assert f"cannot write in {disk}: No space left on device" in result.stderr


def test_trees_that_cannot_be_served(tmp_path: Path) -> None:
    """What the server would refuse to serve is a problem here, too."""
    mark = tmp_path / "docker/registry/lockfiles/database-in-use"
    mark.parent.mkdir(parents=True)
    mark.touch()
    (found,) = problems(tmp_path, f"port: 0\nstorage: {{path: {tmp_path}}}\n")
    assert "storage.path: cannot serve" in found
    assert "GitLab registry with a metadata database" in found
    result = check("--port", "0", "--storage-path", os.fsdecode(b"/proc/\xff"))
    assert "the path must be UTF-8" in result.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act for others")
def test_as_another_user(tmp_path: Path, users: Path) -> None:
    """What the user who types it may not read or write is a problem, though root may."""
    own, other = tmp_path / "own", tmp_path / "other"
    for folder in (own, other):
        folder.mkdir()
    os.chown(own, 12345, 12345)
    users.chmod(0o600)
    shared = Path(tempfile.gettempdir())
    for folder in (tmp_path, *tmp_path.parents):
        if shared in folder.parents:
            folder.chmod(0o755)
    with acting_for_owner(str(own)):
        result = check("--port", "0", "--storage-path", str(other), "--set", f"auth.htpasswd={users}")
        assert check("--port", "0", "--storage-path", str(own)).exit_code == 0
    in_vain = f"command line: storage.path: user 12345 cannot write in {other}: Permission denied"
    unread = f"command line: auth.htpasswd: user 12345 cannot read {users}: Permission denied"
    assert result.stderr.splitlines() == [
        f"{in_vain}; let that user, or choose another place",
        f"{unread}; let that user, or name another file {MAKE}",
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act for others")
def test_folders_of_others(tmp_path: Path) -> None:
    """A folder of the storage in which the server could not work is told of, whichever it is."""
    shared = Path(tempfile.gettempdir())
    for folder in (tmp_path, *tmp_path.parents):
        if shared in folder.parents:
            folder.chmod(0o755)
    data = tmp_path / "data"
    content = data / "docker/registry/v2/blobs/sha256"
    content.mkdir(parents=True)
    for folder in (data, *content.parents[:3]):
        os.chown(folder, 12345, 12345)
    words = ["--port", "0", "--storage-path", str(data)]
    os.chown(content.parent, 12345, 12345)
    with acting_for_owner(str(data)):
        assert f"user 12345 cannot write in {content}: Permission denied" in check(*words).stderr
    os.chown(content, 12345, 12345)
    with acting_for_owner(str(data)):
        assert check(*words).exit_code == 0
        data.chmod(0o300)
        assert f"user 12345 cannot read {data}: Permission denied" in check(*words).stderr
        data.chmod(0o700)
