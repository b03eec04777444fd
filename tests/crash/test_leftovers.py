"""What a process that died has left beside its place is removed when it is an hour old, and not before."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

from cargohold.storage.durable import UNPLACED
from cargohold.storage.filesystem import FilesystemStore
from cargohold.types.digest import Algorithm
from tests.crash.leftovers import left_after_an_hour
from tests.storage.contract.base import ONE, commit, sample

if TYPE_CHECKING:
    import pytest


def test_what_was_written_beside_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kept lists and hash states are among it; what is in its place stays."""
    store = FilesystemStore(str(tmp_path))
    store.prepare()
    asyncio.run(commit(store, ONE, sample("one")))
    own = tmp_path / f"docker/registry/v2/repositories/{ONE}/_cargohold"
    (own / "hashing").mkdir(parents=True)
    left = [tmp_path / "cargohold/catalog.list", own / "tags.list", own / "hashing/uuid"]
    left = [path.with_name(f"{path.name}.0{UNPLACED}") for path in left]
    left += [tmp_path / "cargohold/new/file", tmp_path / "cargohold/new/folder/file"]
    for path in (own / "tags.list", *left):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"half")
    asyncio.run(store.expire_uploads(0.0))
    store.close()
    assert all(path.exists() for path in left)
    assert left_after_an_hour(tmp_path, monkeypatch) == []
    assert not any(path.exists() for path in left)
    assert (own / "tags.list").read_bytes() == b"half"


def test_a_session_that_was_not_made_whole(tmp_path: Path) -> None:
    """It is ended when it is old, though it has no file of bytes, as any other."""
    store = FilesystemStore(str(tmp_path))
    store.prepare()
    folder = Path(store.layout.upload(ONE, asyncio.run(store.create_upload(ONE, Algorithm.SHA256))))
    (folder / "data").unlink()
    assert asyncio.run(store.expire_uploads(3600.0)) == 0
    for path in (folder / "startedat", folder):
        os.utime(path, (1e9, 1e9))
    assert asyncio.run(store.expire_uploads(3600.0)) == 1
    store.close()
    assert not folder.exists()
