"""The grace time to its end: what was promised is there up to the last moment, however often is collected meanwhile."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest

from cargohold.app import terms_of
from cargohold.app.collecting import collect
from cargohold.config import Settings
from cargohold.config.sections import Gc, Trash
from cargohold.storage.filesystem import FilesystemStore
from cargohold.storage.protocols import NotFound
from cargohold.types.digest import Digest
from tests.collection.images import CONFIG, image, is_taken
from tests.e2e.medium import folder_in_memory
from tests.storage.contract.base import ONE, push

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from pathlib import Path

SETTINGS = Settings(gc=Gc(grace=1.0, untagged=True, share=1.0), trash=Trash(keep=0.0))
TERMS = terms_of(SETTINGS)
LATE = 0.95
AT_ONCE = 6
LEAST_IN_TIME, MOST_ROUNDS = 12, 10


@contextmanager
def collecting(root: Path) -> Iterator[list[int]]:
    """One collection after the other, as fast as can be, in the background; what each has found to go."""
    over, went = threading.Event(), list[int]()

    def run() -> None:
        store = FilesystemStore(str(root), TERMS)
        while not over.is_set():
            report = collect(SETTINGS, store)
            assert report is not None
            went.append(report.links + report.manifests)
        store.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield went
    finally:
        over.set()
        thread.join()


async def promise(
    store: FilesystemStore, old: float, layer: bytes, ask: Callable[[Digest], Coroutine[None, None, object]]
) -> bool:
    """Ask for a blob that is so `old`, and push what relies on it when that is nearly too late.

    Whether that came in time; it must have been taken then.
    """
    pushed = time.monotonic()
    await push(store, ONE, layer)
    await asyncio.sleep(old)
    asked = time.monotonic()
    try:
        for content in (CONFIG, layer):
            await ask(Digest.of(content))
    except NotFound:
        # So busy is the machine that the grace time is over already.
        assert time.monotonic() >= pushed + TERMS.grace
        return False
    await asyncio.sleep(asked + LATE * TERMS.grace - time.monotonic())
    taken = await is_taken(store, ONE, image(layer))
    in_time = time.monotonic() < asked + TERMS.grace
    assert taken or not in_time
    return in_time


async def keep_promises(
    root: Path, old: float, ask: Callable[[FilesystemStore, Digest], Coroutine[None, None, object]]
) -> None:
    """Some at once, until enough of them came in time for the rule to be put to the test."""
    store = FilesystemStore(str(root), TERMS)
    store.prepare()
    with collecting(root) as went:
        in_time = number = 0
        while in_time < LEAST_IN_TIME or not sum(went):
            assert number < MOST_ROUNDS
            await push(store, ONE, CONFIG)
            layers = [f"{number} {each}".encode() for each in range(AT_ONCE)]
            asking = partial(ask, store)
            in_time += sum(await asyncio.gather(*(promise(store, old, each, asking) for each in layers)))
            number += 1
    store.close()


@pytest.mark.parametrize("old", [LATE * TERMS.grace, LATE * TERMS.step])
def test_a_blob_that_was_asked_for(tmp_path: Path, old: float) -> None:
    """HEAD 200, nearly the grace time, and the manifest is taken; with collections all the while.

    Also where the lease was just too young to be renewed when it was asked for.
    """
    with folder_in_memory(otherwise=tmp_path) as folder:
        asyncio.run(keep_promises(folder, old, lambda store, digest: store.lease_blob(ONE, digest)))


def test_a_blob_that_was_mounted(tmp_path: Path) -> None:
    """The same with a blob that is mounted again, out of its own repository."""
    with folder_in_memory(otherwise=tmp_path) as folder:
        old = LATE * TERMS.grace
        asyncio.run(keep_promises(folder, old, lambda store, digest: store.mount_blob(digest, ONE, ONE)))
