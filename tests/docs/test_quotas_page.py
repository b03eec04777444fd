"""The page about quotas says what is so: its settings lead to the answer that it shows."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import yaml

from cargohold.app import terms_of
from cargohold.config import load
from cargohold.storage.filesystem import FilesystemStore
from cargohold.types.digest import Digest
from cargohold.types.names import RepositoryName
from tests.docs.blocks import blocks_of
from tests.routes.caller import Registry
from tests.storage.foreign import put

if TYPE_CHECKING:
    from pathlib import Path

    from cargohold.storage.layout import Layout

PAGE = "quotas.md"


def hold(layout: Layout, repository: RepositoryName, size: int) -> None:
    """Let a repository hold a blob of this size, of whose bytes there are none on the disk."""
    digest = Digest.of(f"{repository} {size}".encode())
    put(layout.data(digest), b"")
    os.truncate(layout.data(digest), size)
    put(f"{layout.layer(repository, digest)}/link", digest.encode())


def test_answer(tmp_path: Path) -> None:
    """By the page's settings, five repositories that hold as much as it says get the answer that it shows."""
    (written,) = blocks_of(PAGE, "yaml")
    (shown,) = blocks_of(PAGE, "json")
    expected = json.loads(shown.text)
    detail = expected["errors"][0]["detail"]
    settings = load({"quotas": json.dumps(yaml.safe_load(written.text)["quotas"])}, {})
    store = FilesystemStore(str(tmp_path), terms_of(settings))
    store.prepare()
    try:
        share = detail["used"] // 9
        for number in range(9):
            hold(store.layout, RepositoryName(f"team/{number}"), share)
        registry = Registry(store=store)
        location = registry.start("team/new")
        reply = registry.ask("PATCH", location, body=bytes(detail["needed"]))
        assert reply.error == (403, "DENIED")
        assert reply.json == expected
        location = registry.start("team/new")
        room = detail["allowed"] - detail["used"]
        assert registry.ask("PATCH", location, body=bytes(room)).status == 202
        assert registry.ask("POST", "/v2/team/new/blobs/uploads/").error == (403, "DENIED")
        assert registry.ask("POST", "/v2/elsewhere/blobs/uploads/").status == 202
    finally:
        store.close()
