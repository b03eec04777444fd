"""What root may do while it acts for the owner of a storage."""

from __future__ import annotations

import os
import pwd
import subprocess
from typing import TYPE_CHECKING

import pytest

from cargohold.cli.ownership import acting_for_owner

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GROUP = 1235
OF_ROOT = 1236
STRANGER = 54321


@pytest.fixture
def groups() -> Iterator[list[int]]:
    """Root in a group of its own, as it is in `disk` or `docker` elsewhere."""
    if os.geteuid() != 0:
        pytest.skip("only root can act for another user")
    before = os.getgroups()
    os.setgroups([0, OF_ROOT])
    try:
        yield [0, OF_ROOT]
    finally:
        os.setgroups(before)


def owned(folder: Path, user: int) -> str:
    os.chown(folder, user, GROUP)
    return str(folder)


def test_groups_of_root_are_laid_down(tmp_path: Path, groups: list[int]) -> None:
    """What root's groups alone may read and write cannot be opened, and root has them again afterwards."""
    file = tmp_path / "file"
    file.write_text("x")
    os.chown(file, 0, OF_ROOT)
    file.chmod(0o660)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    with acting_for_owner(owned(tmp_path, STRANGER)):
        for mode in ("rb", "ab"):
            with pytest.raises(PermissionError):
                file.open(mode)
        assert (os.geteuid(), os.getegid(), os.getgroups()) == (STRANGER, GROUP, [GROUP])
    assert (os.geteuid(), os.getegid(), os.getgroups()) == (0, 0, groups)


def test_groups_of_the_owner(tmp_path: Path, groups: list[int]) -> None:
    """Where the system knows the owner it has the owner's groups, so that what the server reaches is reached."""
    user = pwd.getpwnam("nobody")
    words = ["id", "--groups", user.pw_name]
    told = subprocess.run(words, capture_output=True, text=True, timeout=10, check=True).stdout.split()
    with acting_for_owner(owned(tmp_path, user.pw_uid)):
        assert {*os.getgroups(), user.pw_gid} == {*map(int, told), GROUP}
    assert os.getgroups() == groups


def test_root_for_itself(tmp_path: Path, groups: list[int]) -> None:
    """In root's own storage root stays what it is, but for the group of what it makes."""
    with acting_for_owner(owned(tmp_path, 0)):
        assert (os.geteuid(), os.getegid(), os.getgroups()) == (0, GROUP, groups)
    assert (os.getegid(), os.getgroups()) == (0, groups)


def test_restored_after_an_error(tmp_path: Path, groups: list[int]) -> None:
    """What goes wrong meanwhile leaves root with all that it had; a directory that is not there changes nothing."""
    with pytest.raises(ValueError, match="wrong"), acting_for_owner(owned(tmp_path, STRANGER)):
        raise ValueError("wrong")
    assert (os.geteuid(), os.getegid(), os.getgroups()) == (0, 0, groups)
    with pytest.raises(FileNotFoundError), acting_for_owner(f"{tmp_path}/none"):
        raise AssertionError
    assert (os.geteuid(), os.getegid(), os.getgroups()) == (0, 0, groups)
