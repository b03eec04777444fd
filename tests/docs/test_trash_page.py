"""The page about the trash says what is so."""

from __future__ import annotations

import asyncio
import re
from contextlib import closing
from typing import TYPE_CHECKING

from cargohold.storage.filesystem import FilesystemStore
from cargohold.storage.trash import Cause, Why
from cargohold.types.digest import Digest
from cargohold.types.names import RepositoryName, Tag
from tests.docs.blocks import text_of
from tests.docs.session import Session
from tests.interop.peer import Peer

if TYPE_CHECKING:
    from pathlib import Path

PAGE = "trash.md"
TOOL, APP = RepositoryName("ci/tool"), RepositoryName("team/app")


async def delete(root: Path, tool: bytes, app: bytes) -> None:
    """What the page begins with."""
    with closing(FilesystemStore(str(root))) as store:
        await store.delete_tag(TOOL, Tag("nightly"), Cause(Why.RETENTION))
        await store.delete_manifest(TOOL, Digest.of(tool), Cause(Why.RETENTION))
        await store.delete_tag(APP, Tag("beta"), Cause(Why.TAG_DELETED, "bob"))
        await store.delete_manifest(APP, Digest.of(app), Cause(Why.DELETED, "ann"))


def test_what_is_typed(tmp_path: Path) -> None:
    """Each command prints what stands below it, beside a server in which these things were deleted."""
    (tmp_path / "registry.yaml").write_text("storage: {path: data}\n")
    with Session(tmp_path) as session:
        session.serve("cargohold serve --config registry.yaml")
        with Peer(f"http://127.0.0.1:{session.port}") as peer:
            tool = peer.push(TOOL, "nightly", text="tool")
            app = peer.push(APP, "beta", "latest", "v1.4", text="app")
            asyncio.run(delete(tmp_path / "data", tool, app))
            assert session.type_page(PAGE) == 4
            assert peer.tags(TOOL) == ["nightly"]
            assert peer.tags(APP) == ["latest", "v1.4"]


def test_every_reason_is_told() -> None:
    """The page has a row for each reason that a deletion can have."""
    rows = re.findall(r"^\| `([a-z ]+)` \|", text_of(PAGE), re.MULTILINE)
    assert rows == [why.value for why in Why]
