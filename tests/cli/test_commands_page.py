"""The page about the commands says what is so: of each command, and of those that ask a registry by typing them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.cli.asking import PASSWORD, USER, write_users
from tests.cli.commands_page import PAGE, page
from tests.docs.blocks import SHELLS, blocks_of
from tests.docs.session import Session
from tests.e2e.pushing import MANIFEST, descriptor
from tests.interop.peer import Peer

if TYPE_CHECKING:
    from pathlib import Path

ANSWERS = {"Password: ": PASSWORD, "Remove this? [y/N]: ": "y"}
CONFIG = {
    "os": "linux",
    "architecture": "amd64",
    "created": "2026-01-31T12:00:00Z",
    "config": {
        "Entrypoint": ["/app"],
        "Labels": {"org.opencontainers.image.source": "https://git.example.com/app"},
    },
}


def push_examples(url: str) -> None:
    """What the registry of the page holds."""
    config, layer = json.dumps(CONFIG).encode(), bytes(2_000_000)
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(config, "application/vnd.oci.image.config.v1+json"),
        "layers": [descriptor(layer)],
    }
    image = json.dumps(document).encode()
    with Peer(url) as peer:
        for blob in (config, layer):
            peer.push_blob("team/app", blob)
        for tag in ("1.1", "latest"):
            peer.push_manifest("team/app", tag, image)
        peer.push("team/app", "1.0", text="older")
        peer.push("team/app", text="signature", subject=image)
        peer.push("team/web", "1.0", text="web")


def test_list() -> None:
    """docs/commands.md ends with the commands as they are; `python -m tests.cli.commands_page` writes it."""
    current = PAGE.read_text()
    assert current == page(current)


def test_what_is_typed(tmp_path: Path) -> None:
    """Each line of the page prints what stands below it; from the login on, the registry asks for one."""
    write_users(tmp_path / "users")
    assert USER == "ann"
    with Session(tmp_path, answers=ANSWERS) as session:
        session.serve("cargohold serve")
        push_examples(f"http://127.0.0.1:{session.port}")
        typed = blocks_of(PAGE.name, *SHELLS)
        assert len(typed) == 6
        for block in typed:
            if "--user" in block.text:
                session.serve("cargohold serve --set auth.htpasswd=users")
            session.type(block)
