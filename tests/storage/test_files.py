"""Files that somebody names: read whole and at once, or refused."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from cargohold.storage.files import read_whole

if TYPE_CHECKING:
    from pathlib import Path


def test_reading(tmp_path: Path) -> None:
    """The content comes with what the file was when it was read, through a link too."""
    path, link = tmp_path / "file", tmp_path / "link"
    path.write_bytes(b"x")
    link.symlink_to(path)
    content, found = read_whole(str(link))
    assert (content, found.st_ino) == (b"x", path.stat().st_ino)


def test_what_is_no_regular_file(tmp_path: Path) -> None:
    """A pipe and a device are told of at once; neither they nor a folder leave a descriptor open."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    before = os.listdir("/proc/self/fd")
    for name in ("pipe", "zero"):
        with pytest.raises(ValueError, match="it is no regular file"):
            read_whole(str(tmp_path / name))
    with pytest.raises(IsADirectoryError):
        read_whole(str(tmp_path))
    assert os.listdir("/proc/self/fd") == before


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    """What is not there, and a socket, are errors of the system."""
    with pytest.raises(FileNotFoundError):
        read_whole(str(tmp_path / "none"))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        with pytest.raises(OSError, match="No such device or address"):
            read_whole(str(tmp_path / "socket"))


def test_too_large(tmp_path: Path) -> None:
    """A file that is larger than asked for is refused, and one that is as large is read."""
    big = tmp_path / "big"
    big.touch()
    os.truncate(big, 2**20)
    assert len(read_whole(str(big), 2**20)[0]) == 2**20
    os.truncate(big, 2**20 + 1)
    with pytest.raises(ValueError, match="it is larger than 1 MiB"):
        read_whole(str(big), 2**20)
    os.truncate(big, 16 * 2**20 + 1)
    with pytest.raises(ValueError, match="it is larger than 16 MiB"):
        read_whole(str(big))
