"""The copy that the documentation describes, made while a server is at work."""

from __future__ import annotations

import re
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from tests.e2e.dangling import faults
from tests.e2e.server import Server
from tests.interop.peer import Peer

if TYPE_CHECKING:
    from tests.interop.conftest import Serve

STORAGE = Path(__file__).parents[2] / "docs/storage.md"


def test_copy_while_pushed_to(cargohold: Serve, root: Path, tmp_path: Path) -> None:
    """A copy in the order of the documentation, made during pushes, is a whole tree, and is served."""
    script = re.search(r"```sh\n(copy\(\).*?)```", STORAGE.read_text(), re.DOTALL)
    assert script is not None
    backup = tmp_path / "backup"
    backup.mkdir()
    commands = script[1].replace("/srv/registry", str(root)).replace("/backup", str(backup))
    ended, pushed = threading.Event(), 0
    with cargohold() as ours:
        for number in range(20):
            ours.push("before", f"v{number}", text=f"before {number}")

        def push_on() -> None:
            nonlocal pushed
            with Peer(str(ours.http.base_url)) as peer:
                while not ended.is_set():
                    peer.push(f"during{pushed % 3}", f"v{pushed}", "latest", text=f"during {pushed}")
                    pushed += 1

        pusher = threading.Thread(target=push_on)
        pusher.start()
        try:
            for line in (f"set -o errexit -o pipefail\n{commands}",) * 2:
                subprocess.run(["bash", "-c", line], check=True, capture_output=True, timeout=60)
        finally:
            ended.set()
            pusher.join(60)
        assert pushed > 0
    assert faults(backup) == []
    server = Server(backup)
    try:
        with Peer(server.url) as peer:
            assert peer.tags("before") == sorted(f"v{number}" for number in range(20))
            assert "before" in peer.catalog()
    finally:
        server.stop()
