"""What docs/settings.md shows of the commands is what they do."""

from __future__ import annotations

import json
import re
import socket
from typing import TYPE_CHECKING

from cargohold.config import Settings, load
from cargohold.config.schema import file_schema
from tests.config.settings_page import PAGE
from tests.docs.blocks import SHELLS, blocks_of
from tests.docs.session import Session

if TYPE_CHECKING:
    from pathlib import Path


def test_commands(tmp_path: Path) -> None:
    """What the page shows of its commands is what they print, with the files that it shows."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
    texts = re.findall(
        r"^\$ cat (draft\.yaml|config\.yml)\n(.*?)^\$", PAGE.read_text(), re.MULTILINE | re.DOTALL
    )
    assert [name for name, _ in texts] == ["draft.yaml", "config.yml"]
    for name, text in [*texts, ("registry.yaml", "port: 5001\nmanifests:\n  max_bytes: 8MiB\nworkers: 2\n")]:
        (tmp_path / name).write_text(text.replace("5001", port))
    with Session(tmp_path, replaced={"5001": port, "/home/ann/registry": str(tmp_path)}) as session:
        for block in blocks_of("settings.md", *SHELLS)[1:]:
            session.type(block)
    assert load({"config": str(tmp_path / "example.yaml")}, {}) == Settings()
    assert json.loads((tmp_path / "registry.schema.json").read_text()) == json.loads(
        json.dumps(file_schema())
    )
    assert load({"config": str(tmp_path / "imported.yaml")}, {}).storage.path == "/var/lib/registry"
