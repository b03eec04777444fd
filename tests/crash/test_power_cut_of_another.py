"""A power cut while another is still making durable what an acknowledged image relies on."""

from __future__ import annotations

import asyncio
import random
import shutil
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from cargohold.types.digest import Digest
from cargohold.types.names import RepositoryName
from tests.collection.images import CONFIG, image, index, is_taken, is_whole, open_store
from tests.crash.calls import surrounded
from tests.crash.power import Order, leave
from tests.crash.recording import Recorder
from tests.e2e.medium import folder_in_memory
from tests.storage.contract.base import commit, push

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from cargohold.storage.filesystem import FilesystemStore
    from tests.crash.recording import Event
    from tests.storage.contract.base import Sample

WHERE = RepositoryName("shared/by/two")
LAYER = b"layer" * 100
CUTS = 60
PATIENCE = 20.0


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """In memory: what is durable is known from the log."""
    with folder_in_memory(otherwise=tmp_path) as made:
        yield made


class SlowSyncs:
    """A store whose folders are not synced, after something is in its place there, until that is `let`."""

    def __init__(self, store: FilesystemStore, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
        self._path, self._settle = path, store.disk.settle
        self.reached, self._let = threading.Event(), threading.Event()
        monkeypatch.setattr(store.disk, "settle", self._wait)

    def _wait(self, changed: Iterable[str], *more: Iterable[str]) -> None:
        if any(folder.startswith(self._path) for folder in changed):
            self.reached.set()
            assert self._let.wait(PATIENCE)
        self._settle(changed, *more)

    def let(self) -> None:
        self._let.set()


async def _push_layer(slow: FilesystemStore) -> None:
    await push(slow, WHERE, LAYER)


async def _push_child(slow: FilesystemStore) -> None:
    await commit(slow, WHERE, image(LAYER))


async def _rely(
    root: Path,
    recorder: Recorder,
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_index: bool,
) -> tuple[list[Event], Sample]:
    """What was done until the one was told that its image is there, of which the other had just put a part in place."""
    of = index(image(LAYER)) if is_index else image(LAYER)
    with closing(open_store(root)) as other, closing(open_store(root)) as slow:
        other.prepare()
        await push(other, WHERE, CONFIG)
        if is_index:
            await push(other, WHERE, LAYER)
        layout = slow.layout
        part = (
            layout.revision(WHERE, image(LAYER).digest) if is_index else layout.layer(WHERE, Digest.of(LAYER))
        )
        syncs = SlowSyncs(slow, monkeypatch, part)
        pushing = asyncio.create_task(_push_child(slow) if is_index else _push_layer(slow))
        assert await asyncio.to_thread(syncs.reached.wait, PATIENCE)
        if is_index:
            await other.lease_manifest(WHERE, image(LAYER).digest)
        else:
            await other.lease_blob(WHERE, Digest.of(LAYER))
        assert await is_taken(other, WHERE, of)
        events = list(recorder.events)
        syncs.let()
        await asyncio.wait_for(pushing, PATIENCE)
    return events, of


async def _is_there(root: Path, of: Sample) -> bool:
    with closing(open_store(root)) as store:
        store.prepare()
        return await is_whole(store, WHERE, of)


@pytest.mark.parametrize("is_index", [False, True], ids=["layer", "child"])
@pytest.mark.parametrize("order", list(Order))
def test_what_another_has_just_put_in_place(
    folder: Path, tally: Counter[str], monkeypatch: pytest.MonkeyPatch, order: Order, is_index: bool
) -> None:
    """An image that was acknowledged is whole, though who pushed its layer, or its child, was not answered yet."""
    recorder = Recorder(str(folder / "whole"))
    (folder / "whole").mkdir()
    with surrounded(recorder.around):
        events, of = asyncio.run(_rely(folder / "whole", recorder, monkeypatch, is_index=is_index))
    dice = random.Random(f"{order.value} {is_index}")
    for _ in range(CUTS):
        leave(events, recorder.folders, dice, order, folder / "left")
        assert asyncio.run(_is_there(folder / "left", of))
        tally["power cuts"] += 1
        shutil.rmtree(folder / "left")
