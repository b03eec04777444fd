"""A disk without room: writes are refused plainly, what is there can be pulled, and room that comes back is used."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import httpx2
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.conftest import Start

MIB = 1 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    subprocess.run([mount, "-t", "tmpfs", "-o", "size=24m", "tmpfs", disk], check=True, timeout=30)
    yield disk
    subprocess.run(["umount", disk], check=True, timeout=30)


def test_full_disk(small_disk: Path, start: Start) -> None:
    """A push that does not fit is 507 and leaves nothing; an upload session keeps what fitted, and can be cancelled."""
    server = start(storage=small_disk / "data")
    first, second = os.urandom(8 * MIB), os.urandom(5 * MIB)
    with httpx2.Client(base_url=server.url, timeout=60) as client:

        def push(content: bytes) -> int:
            digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
            return client.post(f"/v2/a/blobs/uploads/?digest={digest}", content=content).status_code

        assert push(first) == 201
        assert push(os.urandom(20 * MIB)) == 507
        digest = f"sha256:{hashlib.sha256(first).hexdigest()}"
        assert client.get(f"/v2/a/blobs/{digest}").content == first
        session = client.post("/v2/a/blobs/uploads/").headers["location"]
        refused = client.patch(session, content=os.urandom(20 * MIB))
        assert (refused.status_code, refused.json()["errors"][0]["code"]) == (507, "UNAVAILABLE")
        kept = int(client.get(session).headers["range"].partition("-")[2])
        assert 0 < kept < 16 * MIB
        assert push(second) == 507
        assert client.delete(session).status_code == 204
        assert push(second) == 201
    server.stop()
    assert list((small_disk / "data/cargohold/new").iterdir()) == []
