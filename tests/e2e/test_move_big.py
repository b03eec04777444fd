"""Large images on their way out and in: the memory of the commands does not grow with them."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cli.test_command import CLEAN, SCRIPT
from tests.e2e.clients.repository import OCI_MANIFEST
from tests.e2e.dangling import faults
from tests.e2e.medium import folder_in_memory
from tests.e2e.memory import MIB
from tests.e2e.pushing import EMPTY, digest_of, make_manifest
from tests.interop.peer import Peer

if TYPE_CHECKING:
    from tests.e2e.conftest import Start
    from tests.e2e.server import Server

SECONDS = 280
LARGE = 1 << 30
MANY = 3_000
BOUND = 80 * MIB


def peak_of(server: Server, *words: str) -> int:
    """The most memory that a command was seen to take, in bytes; it must succeed on the server's storage."""
    command = [SCRIPT, *words, "--storage-path", str(server.storage), "--quiet"]
    peak, end = 0, time.monotonic() + SECONDS
    with subprocess.Popen(command, env=CLEAN) as process:
        while process.poll() is None:
            assert time.monotonic() < end
            status = Path(f"/proc/{process.pid}/status").read_text()
            found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
            peak = max(peak, int(found[1]) * 1024 if found else 0)  # one that has just ended has none
            time.sleep(0.01)
    assert process.returncode == 0
    return peak


@pytest.mark.slow
@pytest.mark.timeout(SECONDS * 3)
@pytest.mark.parametrize("place", ["images", "images.tar"])
def test_a_layer_of_a_gigabyte(place: str, start: Start, tmp_path: Path) -> None:
    """A layer of 1 GiB goes out and in with as little memory as a small one."""
    source, target = start(), start()
    layer = bytes(LARGE)
    with Peer(source.url) as peer:
        for blob in (EMPTY, layer):
            peer.push_blob("big", blob)
        peer.push_manifest("big", "v1", make_manifest("big", [layer]))
    digest = digest_of(layer)
    del layer
    copied = ["--copy"] if place == "images" else []
    out = peak_of(source, "export", *copied, "--to", str(tmp_path / place))
    into = peak_of(target, "import", str(tmp_path / place))
    assert max(out, into) < BOUND, (out // MIB, into // MIB)
    with Peer(target.url) as peer:
        assert peer.http.head(f"/v2/big/blobs/{digest}").headers["content-length"] == str(LARGE)
    assert faults(target.storage) == []


@pytest.mark.slow
@pytest.mark.timeout(SECONDS * 3)
def test_very_many_images(start: Start, tmp_path: Path) -> None:
    """Thousands of images take no more memory than a few.

    They lie in memory, if that can be: how long the disk takes to sync so many is not asked here.
    """
    with folder_in_memory(otherwise=tmp_path) as folder:
        source, target = start(storage=folder / "source"), start(storage=folder / "target")
        with Peer(source.url) as peer:
            peer.push_blob("many", EMPTY)
            for number in range(MANY):
                peer.push_manifest("many", f"t{number}", make_manifest(str(number)), OCI_MANIFEST)
        few = peak_of(source, "export", "many:t1", "--to", str(folder / "few"))
        out = peak_of(source, "export", "--to", str(folder / "images"))
        one = peak_of(target, "import", str(folder / "few"))
        into = peak_of(target, "import", str(folder / "images"))
        assert max(out - few, into - one) < 20 * MIB, [size // MIB for size in (few, out, one, into)]
        with Peer(target.url) as peer:
            assert len(peer.tags("many") or []) == MANY
        for server in (source, target):
            server.stop()
