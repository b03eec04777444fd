"""Uploads of what the store has already: hashed, and not written once more."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from cargohold.storage.change import Change
from cargohold.storage.filesystem import FilesystemStore
from cargohold.storage.filesystem.hashing import load_hasher
from cargohold.storage.filesystem.leases import Leases, Terms
from cargohold.storage.protocols import Conflict, DigestMismatch, NotFound, OverQuota, Unavailable
from cargohold.types.digest import Algorithm, Digest
from cargohold.types.quotas import Quota, Quotas

from .contract.base import ONE, OTHER, append, blob, push
from .recorder import nothing_is_left

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cargohold.storage.filesystem.writer import FileUploadWriter
    from cargohold.types.names import UploadId

pytestmark = pytest.mark.usefixtures("loop")

CONTENT = os.urandom(3_000_000)
DIGEST = Digest.of(CONTENT)
PIECE = 256 << 10
LONG_AGO = 3600.0


def pieces(content: bytes) -> Sequence[bytes]:
    return [content[start : start + PIECE] for start in range(0, len(content), PIECE)]


async def send(
    store: FilesystemStore,
    upload: UploadId,
    content: bytes = CONTENT,
    digest: Digest = DIGEST,
    begun: int = 0,
) -> FileUploadWriter:
    """Send a last body of an announced length to a session of OTHER; its writer, for the commit."""
    async with store.append_upload(OTHER, upload, begun, len(content), last=True, known=digest) as writer:
        for piece in pieces(content):
            await writer.write(piece)
    return writer


async def held(store: FilesystemStore, upload: UploadId) -> int:
    return await store.upload_size(OTHER, upload)


async def test_not_written_again(store: FilesystemStore) -> None:
    """What another repository has is not written, is a blob of this one then, and leaves nothing behind."""
    await push(store, ONE, CONTENT)
    written = os.stat(store.layout.data(DIGEST))
    before = await store.totals()
    upload = await store.create_upload(OTHER, Algorithm.SHA256)
    writer = await send(store, upload)
    assert (await held(store, upload), writer.left_out) == (0, len(CONTENT))
    with pytest.raises(NotFound):
        await store.find_blob(OTHER, DIGEST)
    await store.commit_upload(OTHER, upload, DIGEST, len(CONTENT), after=writer)
    assert await blob(store, OTHER, DIGEST) == CONTENT
    assert os.path.samestat(written, os.stat(store.layout.data(DIGEST)))
    assert os.listdir(store.layout.uploads(OTHER)) == []
    assert nothing_is_left(store)
    assert await store.totals() == before


async def _until_some_is_held(store: FilesystemStore, upload: UploadId) -> None:
    for _ in range(1_000):
        if await held(store, upload):
            return
        await asyncio.sleep(0.01)


async def test_stored_by_another_meanwhile(store: FilesystemStore) -> None:
    """What another process stores while it comes is not written from then on; what was is dropped."""
    upload = await store.create_upload(OTHER, Algorithm.SHA256)
    with closing(FilesystemStore(store.layout.root)) as other:
        async with store.append_upload(OTHER, upload, 0, len(CONTENT), last=True, known=DIGEST) as writer:
            for number, piece in enumerate(pieces(CONTENT)):
                await writer.write(piece)
                if number == 8:
                    await _until_some_is_held(store, upload)
                    await push(other, ONE, CONTENT)
        assert 0 < await held(store, upload) == len(CONTENT) - writer.left_out < len(CONTENT)
        await store.commit_upload(OTHER, upload, DIGEST, len(CONTENT), after=writer)
        assert await blob(other, OTHER, DIGEST) == CONTENT
    assert nothing_is_left(store)


async def test_other_bytes(store: FilesystemStore) -> None:
    """Who has not the bytes gets no blob by naming their digest, and what is stored stays as it is."""
    await push(store, ONE, CONTENT)
    upload = await store.create_upload(OTHER, Algorithm.SHA256)
    writer = await send(store, upload, CONTENT[:-1] + b"x")
    with pytest.raises(DigestMismatch):
        await store.commit_upload(OTHER, upload, DIGEST, len(CONTENT), after=writer)
    with pytest.raises(NotFound):
        await store.find_blob(OTHER, DIGEST)
    with pytest.raises(NotFound):
        await held(store, upload)
    assert await blob(store, ONE, DIGEST) == CONTENT


async def _break_off(store: FilesystemStore, upload: UploadId, length: int) -> None:
    async with store.append_upload(OTHER, upload, 0, len(CONTENT), last=True, known=DIGEST) as writer:
        for piece in pieces(CONTENT[:length]):
            await writer.write(piece)
        raise ConnectionResetError


@pytest.mark.parametrize("other", [CONTENT, os.urandom(len(CONTENT))], ids=["same", "different"])
async def test_broken_off(store: FilesystemStore, other: bytes) -> None:
    """What was left out is not taken for sent: whoever goes on sends it, or something else, and that is what counts."""
    await push(store, ONE, CONTENT)
    upload = await store.create_upload(OTHER, Algorithm.SHA256)
    with pytest.raises(ConnectionResetError):
        await _break_off(store, upload, 2_000_000)
    assert await held(store, upload) == 0
    assert load_hasher(store.layout.hashing(OTHER, upload)) is None
    await append(store, OTHER, upload, other)
    digest = Digest.of(other)
    if digest != DIGEST:
        with pytest.raises(Conflict):
            await store.commit_upload(OTHER, upload, DIGEST, len(CONTENT) - 1)
    await store.commit_upload(OTHER, upload, digest, len(other))
    assert await blob(store, OTHER, digest) == other


async def test_another_writes_to_the_session(store: FilesystemStore) -> None:
    """A session that another request has written to meanwhile is none of what was sent: it stays."""
    await push(store, ONE, CONTENT)
    upload = await store.create_upload(OTHER, Algorithm.SHA256)
    writer = await send(store, upload)
    await append(store, OTHER, upload, b"other")
    with pytest.raises(Conflict):
        await store.commit_upload(OTHER, upload, DIGEST, len(CONTENT), after=writer)
    assert await held(store, upload) == 5


@pytest.mark.parametrize("late", [False, True])
async def test_removed_before_the_end(
    store: FilesystemStore, monkeypatch: pytest.MonkeyPatch, *, late: bool
) -> None:
    """Where it is gone by the end, the client is told to send it again, and then it is written."""
    await push(store, ONE, CONTENT)
    stage = Change.stage

    def remove() -> None:
        shutil.rmtree(store.layout.blob(DIGEST), ignore_errors=True)

    def staged(change: Change) -> None:
        stage(change)
        remove()

    upload = await store.create_upload(OTHER, Algorithm.SHA256)
    writer = await send(store, upload)
    if late:
        monkeypatch.setattr(Change, "stage", staged)
    else:
        remove()
    with pytest.raises(Unavailable, match="send it again"):
        await store.commit_upload(OTHER, upload, DIGEST, len(CONTENT), after=writer)
    monkeypatch.undo()
    with pytest.raises(NotFound):
        await store.find_blob(OTHER, DIGEST)
    assert await held(store, upload) == 0
    assert await _written(store, upload)


async def _written(store: FilesystemStore, upload: UploadId) -> bool:
    """Send the content, and make a blob of it; whether all of it was written."""
    writer = await send(store, upload)
    await store.commit_upload(OTHER, upload, DIGEST, len(CONTENT), after=writer)
    assert await blob(store, OTHER, DIGEST) == CONTENT
    return writer.left_out == 0


async def test_collected_when_it_is_found(store: FilesystemStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a collector takes away before its lease could be renewed is written, since nothing was left out yet."""
    await push(store, ONE, CONTENT)
    content = store.layout.blob(DIGEST)
    os.utime(content, (1, 1))
    is_due = Leases.is_due

    def swept(leases: Leases, folder: str) -> bool:
        found = is_due(leases, folder)
        if folder == content and found:
            shutil.rmtree(content)
        return found

    monkeypatch.setattr(Leases, "is_due", swept)
    upload = await store.create_upload(OTHER, Algorithm.SHA256)
    assert await _written(store, upload)


async def test_session_ended_by_another(store: FilesystemStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who finds at the end that another request has ended the session is told that, whenever it happened."""
    await push(store, ONE, CONTENT)
    upload = await store.create_upload(OTHER, Algorithm.SHA256)
    session = store.layout.upload(OTHER, upload)
    is_due = Leases.is_due

    def ended(leases: Leases, folder: str) -> bool:
        found = is_due(leases, folder)
        if folder == session:
            shutil.rmtree(session, ignore_errors=True)
            return True
        return found

    monkeypatch.setattr(Leases, "is_due", ended)
    writer = await send(store, upload)
    with pytest.raises(NotFound):
        await store.commit_upload(OTHER, upload, DIGEST, len(CONTENT), after=writer)


async def test_less_than_was_announced(store: FilesystemStore) -> None:
    """What is shorter than was announced is not what was named, and ends the session as any other does."""
    await push(store, ONE, CONTENT)
    upload = await store.create_upload(OTHER, Algorithm.SHA256)
    async with store.append_upload(OTHER, upload, 0, len(CONTENT), last=True, known=DIGEST) as writer:
        await writer.write(CONTENT[:600_000])
    with pytest.raises(DigestMismatch):
        await store.commit_upload(OTHER, upload, DIGEST, 600_000, after=writer)
    with pytest.raises(NotFound):
        await held(store, upload)


async def test_unhashed(store: FilesystemStore) -> None:
    """Without its hash nothing vouches for what was left out: that is no blob."""
    await push(store, ONE, CONTENT)
    upload = await store.create_upload(OTHER, Algorithm.SHA256)
    writer = await send(store, upload)
    writer.hasher = None
    with pytest.raises(Unavailable):
        await store.commit_upload(OTHER, upload, DIGEST, len(CONTENT), after=writer)
    with pytest.raises(NotFound):
        await store.find_blob(OTHER, DIGEST)


async def test_of_another_length(store: FilesystemStore) -> None:
    """What is not as long as what comes is not it, whatever it is called: it is replaced."""
    await push(store, ONE, CONTENT)
    os.truncate(store.layout.data(DIGEST), 1_000)
    upload = await store.create_upload(OTHER, Algorithm.SHA256)
    writer = await send(store, upload)
    assert (await held(store, upload), writer.left_out) == (len(CONTENT), 0)
    await store.commit_upload(OTHER, upload, DIGEST, len(CONTENT), after=writer)
    assert await blob(store, ONE, DIGEST) == CONTENT


async def test_of_another_algorithm(store: FilesystemStore) -> None:
    """A session that is hashed by one algorithm, and ended by another, is read again: so it is written."""
    digest = Digest.of(CONTENT, Algorithm.SHA512)
    await push(store, ONE, CONTENT, Algorithm.SHA512)
    for algorithm, left_out in ((Algorithm.SHA256, 0), (Algorithm.SHA512, len(CONTENT))):
        upload = await store.create_upload(OTHER, algorithm)
        writer = await send(store, upload, digest=digest)
        assert writer.left_out == left_out
        await store.commit_upload(OTHER, upload, digest, len(CONTENT), after=writer)
        assert await blob(store, OTHER, digest) == CONTENT


async def test_behind_something(store: FilesystemStore) -> None:
    """A session that holds something already is completed as it was begun."""
    await push(store, ONE, CONTENT)
    upload = await store.create_upload(OTHER, Algorithm.SHA256)
    await append(store, OTHER, upload, CONTENT[:1_000])
    writer = await send(store, upload, CONTENT[1_000:], begun=1_000)
    assert (await held(store, upload), writer.left_out) == (len(CONTENT), 0)
    await store.commit_upload(OTHER, upload, DIGEST, len(CONTENT), after=writer)
    assert await blob(store, OTHER, DIGEST) == CONTENT


async def test_under_a_quota(tmp_path: Path) -> None:
    """It takes the room that it would take if it were written; who has the same to come finds that there is none."""
    contents = [CONTENT, os.urandom(3_000_000)]
    terms = Terms(quotas=Quotas((Quota(str(OTHER), 4_000_000),)))
    with closing(FilesystemStore(str(tmp_path / "root"), terms)) as store:
        store.prepare()
        digests = [await push(store, ONE, content) for content in contents]
        uploads = [await store.create_upload(OTHER, Algorithm.SHA256) for _ in contents]
        writers = [await send(store, *each) for each in zip(uploads, contents, digests, strict=True)]
        assert [writer.left_out for writer in writers] == [3_000_000] * 2
        assert [each.used for each in await store.quota_use()] == [0]
        await store.commit_upload(OTHER, uploads[0], digests[0], 3_000_000, after=writers[0])
        with pytest.raises(OverQuota):
            await store.commit_upload(OTHER, uploads[1], digests[1], 3_000_000, after=writers[1])
        with pytest.raises(NotFound):
            await store.find_blob(OTHER, digests[1])
        assert await held(store, uploads[1]) == 0


async def test_room_is_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is gone by the end, no room is taken for it."""
    terms = Terms(quotas=Quotas((Quota(str(OTHER), 7_000_000),)))
    left_out = FilesystemStore._left_out
    with closing(FilesystemStore(str(tmp_path / "root"), terms)) as store:
        store.prepare()
        await push(store, ONE, CONTENT)
        upload = await store.create_upload(OTHER, Algorithm.SHA256)
        writer = await send(store, upload)

        def swept(self: FilesystemStore, batch: Any) -> int:
            found = left_out(self, batch)
            shutil.rmtree(store.layout.blob(DIGEST))
            return found

        monkeypatch.setattr(FilesystemStore, "_left_out", swept)
        with pytest.raises(Unavailable, match="send it again"):
            await store.commit_upload(OTHER, upload, DIGEST, len(CONTENT), after=writer)
        assert [each.used for each in await store.quota_use()] == [0]


async def test_once_more_under_a_quota(tmp_path: Path) -> None:
    """What the repository has itself takes no more of its room."""
    terms = Terms(quotas=Quotas((Quota(str(OTHER), 7_000_000),)))
    with closing(FilesystemStore(str(tmp_path / "root"), terms)) as store:
        store.prepare()
        for _ in range(3):
            upload = await store.create_upload(OTHER, Algorithm.SHA256)
            writer = await send(store, upload)
            await store.commit_upload(OTHER, upload, DIGEST, len(CONTENT), after=writer)
            assert [each.used for each in await store.quota_use()] == [3_000_000]


@pytest.mark.parametrize("is_locked", [False, True])
async def test_stays_while_it_comes(store: FilesystemStore, *, is_locked: bool) -> None:
    """Neither is the content collected while it comes, nor the session ended, however long that takes.

    Where somebody else holds the lock of the content, that is left to the next piece.
    """
    await push(store, ONE, CONTENT)
    upload = await store.create_upload(OTHER, Algorithm.SHA256)
    content, session = store.layout.blob(DIGEST), store.layout.upload(OTHER, upload)
    before = time.time() - LONG_AGO
    for folder in (content, session):
        os.utime(folder, (before, before))
    if is_locked:
        with closing(FilesystemStore(store.layout.root)) as other, other.locks.hold(DIGEST):
            await send(store, upload)
        assert os.stat(content).st_mtime == before
        os.utime(session, (before, before))
    await send(store, upload)
    assert min(os.stat(content).st_mtime, os.stat(session).st_mtime) > before + LONG_AGO / 2
