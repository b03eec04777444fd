"""Deletion beside another server's deletions, of very many tags, and of what is not what it seems."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from typing import TYPE_CHECKING

import pytest

from cargohold.storage.filesystem import FilesystemStore
from cargohold.storage.protocols import NotFound
from cargohold.types.names import Tag

from .contract.base import LATEST, ONE, commit, sample
from .foreign import Foreign, put

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("loop")

FIRST, SECOND = sample("first"), sample("second")


class Rival(FilesystemStore):
    """A store beside whose deletions another server does something, just before each rename."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.foreign = Foreign(self.layout)
        self.takes_away = ""

    def away(self, folder: str) -> str:
        if self.takes_away and self.takes_away in folder:
            shutil.rmtree(folder)
        return super().away(folder)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Rival]:
    made = Rival(str(tmp_path / "data"))
    made.prepare()
    yield made
    made.close()


@pytest.mark.parametrize("what", ["/tags/", "/revisions/"])
async def test_another_was_first(store: Rival, what: str) -> None:
    """What another server removes at the same time is no error: it is gone, as was asked."""
    await commit(store, ONE, FIRST, LATEST, Tag("v1"))
    await commit(store, ONE, SECOND, Tag("kept"))
    store.takes_away = what
    assert sorted(await store.delete_manifest(ONE, FIRST.digest)) == [LATEST, "v1"]
    assert await store.list_tags(ONE, "", 10) == ["kept"]
    with pytest.raises(NotFound):
        await store.read_manifest(ONE, FIRST.digest)


async def test_many_tags(store: Rival) -> None:
    """A manifest goes with its thousand tags at once; their folders are removed afterwards."""
    await commit(store, ONE, FIRST, LATEST)
    await commit(store, ONE, SECOND, Tag("kept"))
    for number in range(1_000):
        store.foreign.tag(ONE, Tag(f"t{number}"), FIRST.digest)
    assert len(await store.delete_manifest(ONE, FIRST.digest)) == 1_001
    assert await store.list_tags(ONE, "", 10) == ["kept"]
    end = time.monotonic() + 60
    while os.listdir(store.layout.new):
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


async def test_broken_tag(store: Rival) -> None:
    """A tag whose link says nothing can be deleted as any other."""
    await commit(store, ONE, FIRST)
    for name, content in (("empty", b""), ("rubbish", b"rubbish")):
        put(store.layout.tag_current(ONE, Tag(name)), content)
    assert await store.list_tags(ONE, "", 10) == ["empty", "rubbish"]
    for name in ("empty", "rubbish"):
        await store.delete_tag(ONE, Tag(name))
    assert await store.list_tags(ONE, "", 10) == []
    with pytest.raises(NotFound):
        await store.delete_tag(ONE, Tag("empty"))


async def test_linked_folders(store: Rival, tmp_path: Path) -> None:
    """Deleting a tag or manifest that is a symbolic link removes the link, and not what it leads to."""
    await commit(store, ONE, FIRST, LATEST)
    elsewhere = tmp_path / "elsewhere"
    os.rename(store.layout.tag(ONE, LATEST), elsewhere)
    os.symlink(elsewhere, store.layout.tag(ONE, LATEST))
    assert await store.list_tags(ONE, "", 10) == [LATEST]
    await store.delete_tag(ONE, LATEST)
    assert await store.list_tags(ONE, "", 10) == []
    assert sorted(path.name for path in elsewhere.iterdir()) == ["current", "index"]


async def test_tag_moved_meanwhile(store: Rival) -> None:
    """A tag that points elsewhere by the time it is looked at stays, though it pointed here when the deletion began."""
    tags = [Tag(f"t{number}") for number in range(20)]
    await commit(store, ONE, FIRST, *tags)
    await commit(store, ONE, SECOND)
    real = store.away

    def away(folder: str) -> str:
        for tag in tags:
            if os.path.exists(store.layout.tag(ONE, tag)) and folder != store.layout.tag(ONE, tag):
                store.foreign.tag(ONE, tag, SECOND.digest)
        return real(folder)

    store.away = away  # type: ignore[method-assign]
    assert len(await store.delete_manifest(ONE, FIRST.digest)) == 1
    assert len(await store.list_tags(ONE, "", 100)) == 19
