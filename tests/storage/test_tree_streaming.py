"""Large uploads in a stream: what is on its way when something goes wrong, or has to wait."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from cargohold.storage.filesystem.hashing import LINGER_SECONDS, load_hasher
from cargohold.storage.protocols import Full
from cargohold.types.digest import Algorithm, Digest
from tests.crash.calls import surrounded

from .contract.base import ONE, append, blob

if TYPE_CHECKING:
    from collections.abc import Callable

    from cargohold.storage.filesystem import FilesystemStore

pytestmark = pytest.mark.usefixtures("loop")

MIB = 1 << 20
PATIENCE = 10.0


@pytest.mark.parametrize("at", [1, 5, 30])
async def test_a_disk_that_becomes_full(store: FilesystemStore, at: int) -> None:
    """Whoever sends on is told soon, and all that came before stays: with its hash, for who goes on behind it."""
    upload, written, content = await store.create_upload(ONE, Algorithm.SHA256), count(1), os.urandom(MIB)

    def around(name: str, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Any:
        if name == "write" and next(written) == at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return call(*arguments, **named)

    async def send() -> None:
        async with asyncio.timeout(PATIENCE), store.append_upload(ONE, upload, 0) as writer:
            for number in count():
                assert number < at + 4
                await writer.write(content)

    with surrounded(around), pytest.raises(Full):
        await send()
    assert await store.upload_size(ONE, upload) == (at - 1) * MIB
    kept = load_hasher(store.layout.hashing(ONE, upload))
    assert (kept.length if kept else 0) == (at - 1) * MIB
    await append(store, ONE, upload, b"end")
    digest = Digest.of(content * (at - 1) + b"end")
    await store.commit_upload(ONE, upload, digest, (at - 1) * MIB + 3)


@pytest.mark.parametrize("pause", [0.0, 2 * LINGER_SECONDS])
async def test_a_session_that_is_locked_for_a_while(store: FilesystemStore, pause: float) -> None:
    """A stream goes on, in its order, when the end of the session is to be had again, however slowly it comes."""
    upload, pieces = await store.create_upload(ONE, Algorithm.SHA256), [os.urandom(MIB) for _ in range(24)]
    held = os.open(f"{store.layout.upload(ONE, upload)}/data", os.O_RDWR)
    try:
        async with store.append_upload(ONE, upload, 0) as writer:
            for number, piece in enumerate(pieces):
                if number == 6:
                    fcntl.flock(held, fcntl.LOCK_EX)
                    asyncio.get_running_loop().call_later(0.1, fcntl.flock, held, fcntl.LOCK_UN)
                await writer.write(piece)
                await asyncio.sleep(pause)
    finally:
        os.close(held)
    content = b"".join(pieces)
    await store.commit_upload(ONE, upload, Digest.of(content), len(content))
    assert await blob(store, ONE, Digest.of(content)) == content


async def test_what_is_announced_and_does_not_come(store: FilesystemStore) -> None:
    """Whoever was made ready for a large body is let go of with the writer, and the next one goes on as ever."""
    upload = await store.create_upload(ONE, Algorithm.SHA256)
    before = asyncio.all_tasks()
    async with store.append_upload(ONE, upload, 0, 64 * MIB):
        assert asyncio.all_tasks() > before
    assert asyncio.all_tasks() == before
    assert await store.upload_size(ONE, upload) == 0
    content = os.urandom(5 * MIB)
    async with store.append_upload(ONE, upload, 0, len(content), last=True) as writer:
        await asyncio.sleep(2 * LINGER_SECONDS)
        await writer.write(content)
    await store.commit_upload(ONE, upload, Digest.of(content), len(content), after=writer)
    assert await blob(store, ONE, Digest.of(content)) == content
