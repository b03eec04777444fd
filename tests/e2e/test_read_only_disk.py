"""A disk that cannot be written to: what is there is served, with lists whole, and nothing is stored."""

from __future__ import annotations

import hashlib
import json
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

INDEX = "application/vnd.oci.image.index.v1+json"
SUBJECT = {"mediaType": INDEX, "digest": f"sha256:{'a' * 64}", "size": 2}
MANIFEST = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [], "subject": SUBJECT}).encode()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    if shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("only root can mount a file system")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", place], check=True, timeout=30)
    yield place
    subprocess.run(["umount", place], check=True, timeout=30)


def test_read_only_disk(disk: Path, start: Start) -> None:
    """With `read_only` a tree is served from it; repositories and referrers are listed that nothing has recorded."""
    server = start(storage=disk / "data")
    digest = f"sha256:{hashlib.sha256(MANIFEST).hexdigest()}"
    assert httpx2.put(f"{server.url}/v2/app/manifests/v1", content=MANIFEST).status_code == 201
    server.stop()
    shutil.rmtree(disk / "data/cargohold")
    shutil.rmtree(disk / "data/docker/registry/v2/repositories/app/_cargohold")
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True, timeout=30)
    with httpx2.Client(base_url=start({"read_only": True}, storage=disk / "data").url, timeout=30) as client:
        assert client.get("/v2/app/manifests/v1").content == MANIFEST
        assert client.get("/v2/app/tags/list").json()["tags"] == ["v1"]
        assert client.get("/v2/_catalog").json() == {"repositories": ["app"]}
        for _ in range(2):
            listed = client.get(f"/v2/app/referrers/{SUBJECT['digest']}").json()["manifests"]
            assert [each["digest"] for each in listed] == [digest]
        assert client.put("/v2/app/manifests/v2", content=MANIFEST).status_code == 405
