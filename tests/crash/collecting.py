"""Clients that push images of few layers while what is not used is collected; all of it on one log."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from cargohold.storage.filesystem import FilesystemStore
from cargohold.storage.filesystem.collection import empty
from cargohold.storage.filesystem.leases import Terms
from cargohold.storage.filesystem.pace import Pace
from cargohold.storage.protocols import NotFound
from cargohold.types.digest import Digest
from cargohold.types.names import RepositoryName, Tag
from cargohold.types.oci import parse_manifest
from tests.collection.images import CONFIG, image, is_taken, is_whole
from tests.crash.clients import POOL, Key, found
from tests.crash.recording import Asked, Began, Told
from tests.storage.collecting import HOUR, collect, make_old
from tests.storage.contract.base import Sample, push

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.crash.recording import Recorder

CLIENTS, IMAGES = 3, 6
HELD = Terms(grace=HOUR, keep=0)
OVER = Terms(grace=0, keep=0)
"""Nothing that was deleted can be restored, so that all that it needed is collected."""


class Pusher:
    """Pushes images and deletes some, each under a tag of its own, in a repository that has no other client."""

    def __init__(self, number: int, store: FilesystemStore, recorder: Recorder, seed: int) -> None:
        self._store = store
        self._recorder = recorder
        self._dice = random.Random(f"{seed} {number}")
        self._repository = RepositoryName(f"images/{number}")
        self._numbers = itertools.count()
        self._pushed: dict[str, Sample] = {}

    @asynccontextmanager
    async def _change(self, text: str, of: Sample, value: Digest | None) -> AsyncIterator[None]:
        keys = (Key(self._repository, "manifest", of.digest), Key(self._repository, "tag", f"v{text}"))
        self._recorder.note(Asked(dict.fromkeys(keys, value)))
        yield
        self._recorder.note(Told(dict.fromkeys(keys, value)))

    async def _push(self) -> None:
        """As a client does: what is there is not sent. Then the manifest must be taken."""
        text, layer = str(next(self._numbers)), self._dice.choice(POOL)
        of = image(layer, text=text)
        for content in (CONFIG, layer):
            try:
                await self._store.lease_blob(self._repository, Digest.of(content))
            except NotFound:
                await self._push_blob(content)
        async with self._change(text, of, of.digest):
            assert await is_taken(self._store, self._repository, of, Tag(f"v{text}"))
        self._pushed[text] = of

    async def _push_blob(self, content: bytes) -> None:
        """Nothing is said to stay of a blob alone: what no manifest needs is collected."""
        digest = Digest.of(content)
        self._recorder.note(Asked({Key(self._repository, "blob", digest): digest}))
        await push(self._store, self._repository, content)

    async def delete_some(self) -> None:
        for text, of in list(self._pushed.items()):
            if self._dice.random() < 0.7:
                async with self._change(text, of, None):
                    await self._store.delete_manifest(self._repository, of.digest)

    async def push_some(self) -> None:
        await self._push_blob(self._dice.randbytes(100))
        for _ in range(IMAGES):
            await self._push()


async def work_and_collect(root: str, recorder: Recorder, seed: int) -> None:
    """Push and delete; when that is old push again, while it is collected and taken off the disk."""
    stores = [FilesystemStore(root, HELD) for _ in range(2)]
    collecting = FilesystemStore(root, OVER)
    stores[0].prepare()
    pushers = [Pusher(number, stores[number % 2], recorder, seed) for number in range(CLIENTS)]
    await asyncio.gather(*(pusher.push_some() for pusher in pushers))
    await asyncio.gather(*(pusher.delete_some() for pusher in pushers))
    make_old(collecting)
    recorder.note(Began())
    await asyncio.gather(asyncio.to_thread(_collect, collecting), *(pusher.push_some() for pusher in pushers))
    for store in (*stores, collecting):
        store.close()


def _collect(store: FilesystemStore) -> None:
    for is_first in (True, False):
        report = collect(store, age=HOUR / 2)
        assert report.ended
        assert not is_first or min(report.links, report.blobs) > 0
        for name in os.listdir(store.layout.swept):
            os.utime(f"{store.layout.swept}/{name}", (0, 0))
        empty(store, Pace(lambda: False, 1.0))


async def found_whole(store: FilesystemStore, key: Key) -> Digest | None:
    """As `found`; an image that is there has all its blobs."""
    digest = await found(store, key)
    if digest is not None and key.kind == "manifest":
        content = await store.read_manifest(key.repository, digest)
        assert await is_whole(store, key.repository, Sample(digest, parse_manifest(content, None))), key
    return digest
