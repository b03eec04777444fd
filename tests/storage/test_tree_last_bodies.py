"""The last body of an upload session that is put down by the commit it is the last of."""

from __future__ import annotations

import asyncio
import fcntl
import os
import threading
from contextlib import AsyncExitStack, closing
from typing import TYPE_CHECKING

import pytest

from cargohold.storage import disk
from cargohold.storage.filesystem import FilesystemStore
from cargohold.storage.filesystem.leases import Terms
from cargohold.storage.filesystem.session import SMALL
from cargohold.storage.protocols import Conflict, DigestMismatch, NotFound, OverQuota
from cargohold.types.digest import Algorithm, Digest
from cargohold.types.quotas import Quota, Quotas

from .contract.base import ONE, append, blob

if TYPE_CHECKING:
    from pathlib import Path

    from cargohold.storage.protocols import UploadWriter
    from cargohold.types.names import UploadId

pytestmark = pytest.mark.usefixtures("loop")

MIB = 1 << 20
PATIENCE = 10.0


async def _left(store: FilesystemStore, *pieces: bytes, begun: bytes = b"") -> tuple[UploadId, UploadWriter]:
    """A session that holds what is `begun`, with a writer whose last body has not been put down."""
    upload = await store.create_upload(ONE, Algorithm.SHA256)
    if begun:
        await append(store, ONE, upload, begun)
    async with store.append_upload(ONE, upload, len(begun), last=True) as writer:
        for piece in pieces:
            await writer.write(piece)
    assert await store.upload_size(ONE, upload) == len(begun)
    return upload, writer


@pytest.mark.parametrize("algorithm", [Algorithm.SHA256, Algorithm.SHA512])
@pytest.mark.parametrize("begun", [0, 1_000_000])
@pytest.mark.parametrize(
    "lengths", [[5], [2, 3], [300_000], [MIB - 2, 2], [60_000] * 16, [20_000] * 52], ids=str
)
async def test_last_body(
    store: FilesystemStore, lengths: list[int], begun: int, algorithm: Algorithm
) -> None:
    """A mebibyte at most is put down by the commit that it is the last of, also behind what was brought before."""
    pieces, before = [os.urandom(length) for length in lengths], os.urandom(begun)
    upload, writer = await _left(store, *pieces, begun=before)
    content = b"".join([before, *pieces])
    digest = Digest.of(content, algorithm)
    await store.commit_upload(ONE, upload, digest, len(content), after=writer)
    assert await blob(store, ONE, digest) == content


@pytest.mark.parametrize("lengths", [[MIB - 1, 2], [MIB, 1], [2_000] * 600])
async def test_long_last_body(store: FilesystemStore, lengths: list[int]) -> None:
    """What is longer, or comes in very many pieces, is put down as it comes, and nothing is left to the commit."""
    pieces = [os.urandom(length) for length in lengths]
    upload, content = await store.create_upload(ONE, Algorithm.SHA256), b"".join(pieces)
    async with store.append_upload(ONE, upload, 0, last=True) as writer:
        for piece in pieces:
            await writer.write(piece)
    assert await store.upload_size(ONE, upload) == len(content)
    await store.commit_upload(ONE, upload, Digest.of(content), len(content), after=writer)
    assert await blob(store, ONE, Digest.of(content)) == content


async def test_last_body_of_many(store: FilesystemStore) -> None:
    """Where so many come that not each may hold a mebibyte, it is put down by smaller batches."""
    uploads = [await store.create_upload(ONE, Algorithm.SHA256) for _ in range(50)]
    async with AsyncExitStack() as stack:
        for upload in uploads:
            writer = await stack.enter_async_context(store.append_upload(ONE, upload, 0, last=True))
        await writer.write(bytes(600_000))
        assert await store.upload_size(ONE, uploads[-1]) == 600_000


async def test_disk_begins_with_all_that_has_come(
    store: FilesystemStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a body that may be all, and is not small, the disk begins as soon as it has been written."""
    begun: list[tuple[int, int]] = []
    monkeypatch.setattr(disk, "start_writing", lambda _, start, stop: begun.append((start, stop)))
    upload, writer = await _left(store, bytes(300_000))
    await store.commit_upload(ONE, upload, Digest.of(bytes(300_000)), 300_000, after=writer)
    assert begun[0] == (0, 300_000)


@pytest.mark.parametrize("length", [5, SMALL])
async def test_small_one_waits_for_no_large_one(store: FilesystemStore, length: int) -> None:
    """What is small is stored while large ones have all of their threads, and others wait for those."""
    done = threading.Event()
    large = [asyncio.ensure_future(store.in_bulk(done.wait, PATIENCE)) for _ in range(32)]
    upload, writer = await _left(store, bytes(SMALL + 1))
    commit = store.commit_upload(ONE, upload, Digest.of(bytes(SMALL + 1)), SMALL + 1, after=writer)
    other = asyncio.ensure_future(commit)
    await asyncio.sleep(0)
    upload, writer = await _left(store, bytes(length))
    try:
        await store.commit_upload(ONE, upload, Digest.of(bytes(length)), length, after=writer)
        assert not any(each.done() for each in (*large, other))
    finally:
        done.set()
        await asyncio.gather(other, *large)
    assert await blob(store, ONE, Digest.of(bytes(length))) == bytes(length)
    assert await blob(store, ONE, Digest.of(bytes(SMALL + 1))) == bytes(SMALL + 1)


async def test_small_last_body_of_another_digest(store: FilesystemStore) -> None:
    """It is hashed like any other: what is not of the digest is refused, and ends the session."""
    upload, writer = await _left(store, b"small")
    with pytest.raises(DigestMismatch):
        await store.commit_upload(ONE, upload, Digest.of(b"other"), 5, after=writer)
    with pytest.raises(NotFound):
        await store.upload_size(ONE, upload)


async def test_small_last_body_of_a_session_that_has_changed(store: FilesystemStore) -> None:
    """Where another has written to the session meanwhile, or ended it, nothing is stored."""
    with closing(FilesystemStore(store.layout.root)) as other:
        upload, writer = await _left(store, b"small")
        await append(other, ONE, upload, b"grown")
        with pytest.raises(Conflict):
            await store.commit_upload(ONE, upload, Digest.of(b"small"), 5, after=writer)
        await other.commit_upload(ONE, upload, Digest.of(b"grown"), 5)
        upload, writer = await _left(store, b"small")
        await other.cancel_upload(ONE, upload)
        with pytest.raises(NotFound):
            await store.commit_upload(ONE, upload, Digest.of(b"small"), 5, after=writer)
        assert await blob(store, ONE, Digest.of(b"grown")) == b"grown"
        with pytest.raises(NotFound):
            await store.find_blob(ONE, Digest.of(b"small"))


async def test_small_last_body_while_the_session_is_locked(store: FilesystemStore) -> None:
    """Where another holds the end of the session for a while, that is waited for."""
    upload, writer = await _left(store, b"small")
    held = os.open(f"{store.layout.upload(ONE, upload)}/data", os.O_RDWR)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        commit = store.commit_upload(ONE, upload, Digest.of(b"small"), 5, after=writer)
        committing = asyncio.ensure_future(commit)
        done, _ = await asyncio.wait({committing}, timeout=0.1)
        assert not done
    finally:
        os.close(held)
    await committing
    assert await blob(store, ONE, Digest.of(b"small")) == b"small"


async def test_small_last_body_under_a_quota(tmp_path: Path) -> None:
    """A quota holds for it too, whether what is used is known or not."""
    terms = Terms(quotas=Quotas((Quota("library/*", 1_000_000, each=True),)))
    with closing(FilesystemStore(str(tmp_path / "root"), terms)) as store:
        store.prepare()
        for length, fits in ((60_000, True),) * 16 + ((60_000, False), (40_000, True)):
            content = os.urandom(length)
            upload, writer = await _left(store, content)
            commit = store.commit_upload(ONE, upload, Digest.of(content), length, after=writer)
            if fits:
                await commit
                assert await blob(store, ONE, Digest.of(content)) == content
            else:
                with pytest.raises(OverQuota):
                    await commit
                assert await store.upload_size(ONE, upload) == 0
