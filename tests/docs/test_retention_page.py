"""The page about retention says what is so: its commands print what it shows, on a registry as it describes."""

from __future__ import annotations

import json
import os
import re
import time
from typing import TYPE_CHECKING

import yaml

from tests.docs.blocks import SHELLS, blocks_of
from tests.docs.session import Session
from tests.e2e.pushing import make_manifest
from tests.interop.peer import Peer

if TYPE_CHECKING:
    from pathlib import Path

PAGE = "retention.md"
DAY = 86_400
TAGS = {
    "ci/app": {"b-1412": 0, "b-1411": 11, "b-1398": 42, "v1.0": 61},
    "ci/release/app": {"rc-1": 61},
    "cache/layers": {"main": 29, "old": 40},
}
"""How many days ago what was pushed."""


def settings() -> dict[str, object]:
    """Those of the page."""
    (block,) = blocks_of(PAGE, "yaml")
    found: dict[str, object] = yaml.safe_load(block.text)
    return found


def set_back(path: Path, days: float) -> None:
    then = time.time() - days * DAY
    os.utime(path, (then, then))


def furnish(url: str, data: Path) -> None:
    """What the registry of the page holds, and what was pulled."""
    with Peer(url) as peer:
        for repository, tags in TAGS.items():
            for tag, days in tags.items():
                peer.push(repository, tag, text=tag)
                folder = data / "docker/registry/v2/repositories" / repository / "_manifests/tags" / tag
                set_back(folder / "current/link", days)
        assert peer.http.get("/v2/cache/layers/manifests/main").status_code == 200
    begun = data / "docker/registry/v2/repositories/cache/layers/_cargohold/pulled/since"
    begun.touch()
    set_back(begun, 30)
    record = data / "cargohold/pulls"
    written = json.loads(record.read_text())
    written["since"]["cache/**"] -= 30 * DAY
    record.write_text(json.dumps(written))


def test_what_is_typed(tmp_path: Path) -> None:
    """Each command of the page prints what stands below it."""
    config = {"storage": {"path": "data"}, **settings()}
    (tmp_path / "registry.yaml").write_text(yaml.safe_dump(config))
    with Session(tmp_path) as session:
        session.serve("cargohold serve --config registry.yaml")
        furnish(f"http://127.0.0.1:{session.port}", tmp_path / "data")
        typed = blocks_of(PAGE, *SHELLS)
        assert len(typed) == 2
        for block in typed:
            session.type(block)
        with Peer(f"http://127.0.0.1:{session.port}") as peer:
            found = peer.http.get("/v2/ci/app/tags/list").json()["tags"]
            assert found == ["b-1411", "b-1412", "v1.0"]
            # What is immutable is refused as the page says.
            peer.push("prod/app", "v1.0", text="first")
            other = make_manifest("other")
            answer = peer.http.put("/v2/prod/app/manifests/v1.0", content=other)
    assert answer.status_code == 403
    (shown,) = blocks_of(PAGE, "text")
    said = answer.json()["errors"][0]["message"]
    assert re.sub(r"sha256:\w+…?", "DIGEST", said) == re.sub(r"sha256:\w+…?", "DIGEST", shown.text.strip())
