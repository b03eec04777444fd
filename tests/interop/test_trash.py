"""What is deleted and restored by us, as Distribution sees it on the same tree."""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from cargohold.registry.trash import Trash
from cargohold.storage.filesystem import FilesystemStore
from cargohold.types.names import RepositoryName, Tag
from tests.e2e.dangling import faults
from tests.e2e.pushing import digest_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.interop.conftest import Serve, Turn

pytestmark = pytest.mark.clients

APP = RepositoryName("team/app")


def restore(root: Path, tag: str) -> None:
    with closing(FilesystemStore(str(root))) as store:
        asyncio.run(Trash(store, keep=3600.0).restore(APP, Tag(tag)))


def test_deleted_and_restored(cargohold: Serve, distribution: Turn, root: Path) -> None:
    """To Distribution what we deleted is gone, and the trash is nothing; what we restored is there again."""
    with cargohold() as ours:
        one = ours.push(APP, "v1", "latest", text="one")
        two = ours.push(APP, "v2", text="two")
        ours.delete_manifest(APP, one)
    with distribution() as theirs:
        assert theirs.tags(APP) == ["v2"]
        assert theirs.catalog() == [APP]
        assert theirs.manifest(APP, digest_of(one)) is None
        assert theirs.manifest(APP, "latest") is None
    restore(root, "v1")
    with distribution() as theirs:
        assert theirs.tags(APP) == ["latest", "v1", "v2"]
        assert theirs.manifest(APP, "v1") == theirs.manifest(APP, digest_of(one)) == one
        assert theirs.manifest(APP, "v2") == two
    assert faults(root) == []


def test_deleted_by_distribution(cargohold: Serve, distribution: Turn, root: Path) -> None:
    """What Distribution deletes is in nobody's trash; what it deletes after a restoration is gone for us too."""
    with cargohold() as ours:
        one = ours.push(APP, "v1", text="one")
        ours.delete_manifest(APP, one)
    restore(root, "v1")
    with distribution() as theirs:
        theirs.delete_manifest(APP, one)
    with cargohold() as ours:
        assert ours.manifest(APP, digest_of(one)) is None
        assert ours.tags(APP) in (None, [])
    with closing(FilesystemStore(str(root))) as store:
        assert asyncio.run(store.read_trash(APP)).records == []
