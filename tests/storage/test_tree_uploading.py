"""Uploads on the way to the disk: hashed beside the writes, and never more of them in memory than there is room for."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from itertools import count
from typing import TYPE_CHECKING, Any, Self

import pytest

from cargohold.storage import disk
from cargohold.storage.filesystem.hashing import RunningHash, load_hasher
from cargohold.storage.protocols import Full
from cargohold.types.digest import Algorithm, Digest, Hasher
from tests.crash.calls import surrounded

from .contract.base import ONE, append, blob

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cargohold.storage.filesystem import FilesystemStore
    from cargohold.types.names import UploadId

pytestmark = pytest.mark.usefixtures("loop")

KIB, MIB = 1 << 10, 1 << 20
PIECE = 256 * KIB
PATIENCE = 10.0


@pytest.fixture
def content(tmp_path: Path) -> Iterator[tuple[int, bytes]]:
    """A file of 3,000,000 bytes, open, and what is in it."""
    content = os.urandom(3_000_000)
    (tmp_path / "content").write_bytes(content)
    descriptor = os.open(tmp_path / "content", os.O_RDONLY)
    yield descriptor, content
    os.close(descriptor)


@pytest.mark.parametrize("start", [0, 1, 1_000_000])
async def test_hashed_in_order(store: FilesystemStore, content: tuple[int, bytes], start: int) -> None:
    """Batches are hashed in the order in which they came; what an earlier writer left unhashed is read first."""
    descriptor, whole = content
    running = RunningHash(store, Hasher(Algorithm.SHA256), descriptor, asyncio.get_running_loop())
    for begin in range(start, len(whole), 100_000):
        running.add(begin, [whole[begin : begin + 60_000], whole[begin + 60_000 : begin + 100_000]])
        assert running.done <= begin + 100_000 - start
        await running.until_done(begin - 300_000 - start)
        assert running.done >= begin - 300_000 - start
    hasher = await running.end()
    assert hasher is not None
    assert (running.done, hasher.length, hasher.digest()) == (
        len(whole) - start,
        len(whole),
        Digest.of(whole),
    )


async def test_unhashed_where_it_cannot_be_read(store: FilesystemStore, content: tuple[int, bytes]) -> None:
    """Where what an earlier writer left is not to be had, nobody waits for the hash, and there is none."""
    descriptor, whole = content
    running = RunningHash(store, Hasher(Algorithm.SHA256), descriptor, asyncio.get_running_loop())
    for begin in (len(whole) + 1, len(whole) + 100_001):
        running.add(begin, [bytes(100_000)])
    async with asyncio.timeout(PATIENCE):
        await running.until_done(200_000)
        assert await running.end() is None


class Piece(bytes):
    """A piece of a body, counted while it is in memory."""

    held = most = 0

    def __new__(cls, length: int) -> Self:
        Piece.held += length
        Piece.most = max(Piece.most, Piece.held)
        return super().__new__(cls, length)

    def __del__(self) -> None:
        Piece.held -= len(self)


async def _send(store: FilesystemStore, upload: UploadId, length: int) -> None:
    async with store.append_upload(ONE, upload, 0) as writer:
        for _ in range(length // PIECE):
            await writer.write(Piece(PIECE))
            await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("uploads", "length", "most"),
    [
        (1, 64 * MIB, 3 * MIB),
        (2, 32 * MIB, 6 * MIB),
        (40, 2 * MIB, 24 * MIB),
        (120, 2 * MIB, 24 * MIB),
        (400, MIB, 50 * MIB),
    ],
)
async def test_memory_is_bounded(store: FilesystemStore, uploads: int, length: int, most: int) -> None:
    """However fast clients send, 3 MiB of an upload are held, 24 MiB of all or 128 KiB of each; and a piece of each."""
    sessions = [await store.create_upload(ONE, Algorithm.SHA256) for _ in range(uploads)]
    Piece.most = Piece.held
    await asyncio.gather(*(_send(store, upload, length) for upload in sessions))
    # A thread lets go of its batch a moment after it has said so.
    assert Piece.most <= most + uploads * PIECE + min(8, 2 * uploads) * 768 * KIB
    for upload in sessions:
        await store.commit_upload(ONE, upload, Digest.of(bytes(length)), length)


@pytest.mark.parametrize("uploads", [1, 100])
async def test_memory_is_bounded_while_the_disk_hangs(store: FilesystemStore, uploads: int) -> None:
    """While the disk takes nothing, no more than that is taken of any client; all of it is stored when it goes on."""
    hangs, length = threading.Event(), 8 * MIB if uploads == 1 else MIB
    sessions = [await store.create_upload(ONE, Algorithm.SHA256) for _ in range(uploads)]

    def around(name: str, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Any:
        if name == "write":
            assert hangs.wait(PATIENCE)
        return call(*arguments, **named)

    Piece.most = Piece.held
    with surrounded(around):
        sending = asyncio.gather(*(_send(store, upload, length) for upload in sessions))
        try:
            before = -1
            while before != Piece.held:
                before = Piece.held
                await asyncio.sleep(0.2)
            shares = max(uploads * 128 * KIB, min(uploads * 3 * MIB, 24 * MIB))
            assert Piece.most <= uploads * PIECE + shares
            assert [await store.upload_size(ONE, upload) for upload in sessions] == [0] * uploads
        finally:
            hangs.set()
            await sending
    for upload in sessions:
        await store.commit_upload(ONE, upload, Digest.of(bytes(length)), length)


async def test_crumbs(store: FilesystemStore) -> None:
    """A body in crumbs is put down long before its crumbs take much more memory than they hold."""
    upload = await store.create_upload(ONE, Algorithm.SHA256)
    Piece.held = 0
    async with store.append_upload(ONE, upload, 0) as writer:
        for _ in range(5_000):
            await writer.write(Piece(3))
            assert Piece.held <= 3 * 600
    await store.commit_upload(ONE, upload, Digest.of(bytes(15_000)), 15_000)


@pytest.mark.parametrize("chunk", [40_000_000, 5_000_000, 3_000_000])
async def test_writing_begins_early(
    store: FilesystemStore, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    """However an upload is cut up, the disk begins with each 8 MiB of it as soon as they are there: once, in order."""
    begun: list[tuple[int, int]] = []
    begin = disk.start_writing

    def noted(descriptor: int, start: int, stop: int) -> None:
        assert os.fstat(descriptor).st_size >= stop
        begun.append((start, stop))
        begin(descriptor, start, stop)

    monkeypatch.setattr(disk, "start_writing", noted)
    content = os.urandom(100_000) * 400
    upload = await store.create_upload(ONE, Algorithm.SHA256)
    for start in range(0, len(content), chunk):
        stop = min(start + chunk, len(content))
        pieces = [content[begin : min(begin + PIECE, stop)] for begin in range(start, stop, PIECE)]
        await append(store, ONE, upload, *pieces)
    assert begun == [(8 * MIB * number, 8 * MIB * (number + 1)) for number in range(4)]
    await store.commit_upload(ONE, upload, Digest.of(content), len(content))
    assert await blob(store, ONE, Digest.of(content)) == content


async def test_last_writer_keeps_nothing(store: FilesystemStore) -> None:
    """A commit believes the writer before it: nothing is written down for another process, and nothing read again."""
    content = os.urandom(1_300_000)
    upload = await store.create_upload(ONE, Algorithm.SHA256)
    async with store.append_upload(ONE, upload, 0, last=True) as writer:
        await writer.write(content)
    assert load_hasher(store.layout.hashing(ONE, upload)) is None
    # Were the file read again, it would not be what the digest says.
    _spoil(f"{store.layout.upload(ONE, upload)}/data")
    await store.commit_upload(ONE, upload, Digest.of(content), len(content), after=writer)
    assert await blob(store, ONE, Digest.of(content)) == bytes(1_000) + content[1_000:]


def _spoil(path: str) -> None:
    with open(path, "r+b") as file:
        file.write(bytes(1_000))


async def test_last_writer_that_breaks_off(store: FilesystemStore) -> None:
    """A last body that breaks off leaves the hash to whoever goes on, as any other does."""
    content = os.urandom(300_000)
    upload = await store.create_upload(ONE, Algorithm.SHA256)

    async def client() -> None:
        async with store.append_upload(ONE, upload, 0, last=True) as writer:
            await writer.write(content)
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await client()
    kept = load_hasher(store.layout.hashing(ONE, upload))
    assert kept is not None
    assert (kept.length, kept.digest()) == (len(content), Digest.of(content))


@pytest.mark.parametrize("step", range(5))
async def test_no_room_for_a_session(store: FilesystemStore, step: int) -> None:
    """A session that cannot be made leaves nothing behind, at whatever step that is found out."""
    steps = count()

    def around(name: str, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Any:
        if name in {"open_file", "write"} and next(steps) == step:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return call(*arguments, **named)

    with surrounded(around), pytest.raises(Full):
        await store.create_upload(ONE, Algorithm.SHA512)
    assert os.listdir(store.layout.uploads(ONE)) == []
