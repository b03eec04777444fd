"""Upload sessions: offsets, writers, commits, ends."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from cargohold.storage.protocols import Conflict, DigestMismatch, NotFound, StoreError
from cargohold.types.digest import Algorithm, Digest
from cargohold.types.names import UploadId

from .base import NOTHING, ONE, OTHER, Contract, Pair, append, blob, push, size, started

if TYPE_CHECKING:
    from cargohold.storage.protocols import Store, UploadWriter

KIB, MIB = 1 << 10, 1 << 20


class _ClientGone(Exception):
    pass


async def _finishes(store: Store, upload: UploadId, content: bytes) -> None:
    """Prove that the session holds this content, by committing it."""
    assert await store.upload_size(ONE, upload) == len(content)
    digest = Digest.of(content)
    await store.commit_upload(ONE, upload, digest, len(content))
    assert await blob(store, ONE, digest) == content
    assert await size(store, ONE, upload) is None


class UploadContract(Contract):
    """`UploadStore`, `UploadWriter`."""

    async def test_starts_empty(self, store: Store, second: Store) -> None:
        """A new session holds nothing; each has a name of its own, and every process knows it."""
        uploads = {await store.create_upload(ONE, Algorithm.SHA256) for _ in range(10)}
        assert len(uploads) == 10
        for upload in uploads:
            assert await second.upload_size(ONE, upload) == 0

    async def test_unknown_session(self, store: Store) -> None:
        """Whatever is asked of a session that was never started is NotFound."""
        await _is_unknown(store, UploadId.new())

    async def test_other_repository(self, store: Store) -> None:
        """A session belongs to the repository that it was started in, and is NotFound in any other."""
        upload = await store.create_upload(OTHER, Algorithm.SHA256)
        await append(store, OTHER, upload, b"theirs")
        await _is_unknown(store, upload)
        assert await store.upload_size(OTHER, upload) == 6

    @pytest.mark.parametrize(
        "lengths",
        [[], [0], [1], [0, 5, 0], [MIB], [MIB - 1, 1, 1], [MIB + 1], [3 * MIB], [300 * KIB] * 9, [1] * 500],
        ids=str,
    )
    async def test_session_holds_what_was_written(self, store: Store, lengths: list[int]) -> None:
        """Pieces of any length are put down whole and in order; the writer's offset counts all of them."""
        upload = await store.create_upload(ONE, Algorithm.SHA256)
        content = b""
        async with store.append_upload(ONE, upload, 0) as writer:
            for number, length in enumerate(lengths):
                piece = bytes([number % 251 + 1]) * length
                await writer.write(piece)
                content += piece
                assert writer.offset == len(content)
        await _finishes(store, upload, content)

    @pytest.mark.parametrize("opened_with", Algorithm)
    @pytest.mark.parametrize("closed_with", Algorithm)
    async def test_any_writer_goes_on(
        self, pair: Pair, opened_with: Algorithm, closed_with: Algorithm
    ) -> None:
        """A session goes on in any process, and takes a digest of either algorithm, however started."""
        upload = await pair.store.create_upload(ONE, opened_with)
        content = b""
        for number, store in enumerate((pair.second, pair.store, pair.store, pair.second)):
            piece = bytes([number]) * 70_001
            assert await append(store, ONE, upload, piece, offset=len(content)) == len(content) + len(piece)
            content += piece
        digest = Digest.of(content, closed_with)
        await pair.store.commit_upload(ONE, upload, digest, len(content))
        assert await blob(pair.second, ONE, digest) == content

    async def test_offset_is_the_end(self, store: Store, second: Store) -> None:
        """A writer starts at the session's end: an offset that is the end is taken, and so is None."""
        upload = await started(store, ONE, b"12345")
        for offset in (5, None):
            async with second.append_upload(ONE, upload, offset) as writer:
                assert writer.offset == 5
        assert await append(store, ONE, upload, b"67", offset=5) == 7
        await _finishes(store, upload, b"1234567")

    @pytest.mark.parametrize("offset", [0, 4, 6, 1 << 40])
    async def test_offset_elsewhere(self, store: Store, offset: int) -> None:
        """An offset before or behind the end is a Conflict, which leaves the session as it was."""
        upload = await started(store, ONE, b"12345")
        with pytest.raises(Conflict):
            await append(store, ONE, upload, b"never", offset=offset)
        await _finishes(store, upload, b"12345")

    async def test_holds_back_little(self, store: Store, second: Store) -> None:
        """At most 2 MiB are held back by a writer: the rest is seen by all before it is left."""
        upload = await store.create_upload(ONE, Algorithm.SHA256)
        async with store.append_upload(ONE, upload, None) as writer:
            for _ in range(40):
                await writer.write(bytes(100_000))
                held_back = writer.offset - await second.upload_size(ONE, upload)
                assert 0 <= held_back <= 2 * MIB
        assert await second.upload_size(ONE, upload) == 4_000_000

    async def test_late_writer(self, store: Store, second: Store) -> None:
        """A writer whose session has grown since has a Conflict, on leaving at the latest."""
        upload = await started(store, ONE, b"first ")

        async def late() -> None:
            async with store.append_upload(ONE, upload, None) as writer:
                await append(second, ONE, upload, b"second")
                await writer.write(b"late")

        with pytest.raises(Conflict):
            await late()
        await _finishes(store, upload, b"first second")

    async def test_one_of_two_writers(self, store: Store, second: Store) -> None:
        """Of two writers at one end, one has its bytes in the session and the other a Conflict."""
        upload = await store.create_upload(ONE, Algorithm.SHA256)
        refused = []
        with suppress(Conflict):
            async with store.append_upload(ONE, upload, None) as outer:
                try:
                    async with second.append_upload(ONE, upload, None) as inner:
                        await outer.write(b"outer")
                        await inner.write(b"inner")
                except Conflict:
                    refused.append(b"inner")
        if not refused:
            refused.append(b"outer")
        await _finishes(store, upload, b"outer" if refused == [b"inner"] else b"inner")

    async def test_conflict_is_for_good(self, store: Store, second: Store) -> None:
        """A writer that has had its Conflict has it at every later call, and what it wrote is nowhere."""
        upload = await store.create_upload(ONE, Algorithm.SHA256)
        with suppress(Conflict):
            async with store.append_upload(ONE, upload, None) as late:
                await append(second, ONE, upload, b"grown")
                with pytest.raises(Conflict):
                    await _write_much(late)
                for _ in range(3):
                    with pytest.raises(Conflict):
                        await late.write(b"again")
        await _finishes(store, upload, b"grown")

    @pytest.mark.parametrize("end", ["commit", "cancel", "expire", "mismatch"])
    async def test_writer_of_an_ended_session(self, pair: Pair, end: str) -> None:
        """A writer whose session has gone since has a Conflict; a finished blob does not change."""
        store = pair.store
        upload = await started(store, ONE, b"whole")
        digest = Digest.of(b"whole")

        async def late() -> None:
            async with store.append_upload(ONE, upload, 5) as writer:
                await _end(pair, upload, end)
                await writer.write(b", and more")

        with pytest.raises(Conflict):
            await late()
        assert await size(store, ONE, upload) is None
        assert await blob(store, ONE, digest) == (b"whole" if end == "commit" else None)

    async def test_left_by_an_exception(self, store: Store, second: Store) -> None:
        """A writer left by an exception puts down what it has taken, and lets the exception pass."""
        upload = await store.create_upload(ONE, Algorithm.SHA256)

        async def client() -> None:
            async with store.append_upload(ONE, upload, 0) as writer:
                await writer.write(b"taken, ")
                await writer.write(b"then gone")
                raise _ClientGone

        with pytest.raises(_ClientGone):
            await client()
        await _finishes(second, upload, b"taken, then gone")

    async def test_left_by_cancellation(self, store: Store, second: Store) -> None:
        """A writer left by cancellation puts down what it has taken, and lets the cancellation pass."""
        upload = await store.create_upload(ONE, Algorithm.SHA256)
        taken = asyncio.Event()
        task = asyncio.create_task(_take_and_wait(store, upload, b"taken", taken))
        await taken.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await _finishes(second, upload, b"taken")

    async def test_left_by_cancellations(self, store: Store, second: Store) -> None:
        """A task may be cancelled again while its writer is being left: what was taken is still put down."""
        for pauses in range(12):
            upload = await store.create_upload(ONE, Algorithm.SHA256)
            taken = asyncio.Event()
            task = asyncio.create_task(_take_and_wait(store, upload, b"taken" * 100, taken))
            await taken.wait()
            task.cancel()
            for _ in range(pauses):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await _finishes(second, upload, b"taken" * 100)

    async def test_cancelled_anywhere(self, store: Store, second: Store) -> None:
        """Wherever a task is cancelled, the session holds a prefix of what was sent: all that was taken."""
        content = bytes(range(256)) * 20 * KIB  # 5 MiB in 40 pieces
        pieces = [content[start : start + 128 * KIB] for start in range(0, len(content), 128 * KIB)]
        for pauses in (1, 2, 3, 5, 8, 13, 21, 34, 55, 89):
            upload = await store.create_upload(ONE, Algorithm.SHA256)
            taken: list[int] = [0]
            task = asyncio.create_task(_take(store, upload, pieces, taken))
            for _ in range(pauses):
                await asyncio.sleep(0)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            held = await second.upload_size(ONE, upload)
            assert taken[0] <= held <= taken[0] + 128 * KIB
            await append(second, ONE, upload, content[held:], offset=held)
            await _finishes(store, upload, content)

    @pytest.mark.parametrize("claimed", [0, 4, 6, 1 << 40])
    async def test_commit_of_another_size(self, store: Store, claimed: int) -> None:
        """A commit that names another size than the session's is a Conflict, and the session stays usable."""
        upload = await started(store, ONE, b"12345")
        for digest in (Digest.of(b"12345"), Digest.of(b"other")):
            with pytest.raises(Conflict) as refusal:
                await store.commit_upload(ONE, upload, digest, claimed)
            assert not isinstance(refusal.value, DigestMismatch)
            assert await blob(store, ONE, digest) is None
        await append(store, ONE, upload, b"67", offset=5)
        await _finishes(store, upload, b"1234567")

    @pytest.mark.parametrize("algorithm", Algorithm)
    @pytest.mark.parametrize("content", [b"", b"right"])
    async def test_commit_of_another_digest(self, store: Store, algorithm: Algorithm, content: bytes) -> None:
        """A commit under a digest that the bytes do not have is a DigestMismatch, and the session is gone."""
        upload = await started(store, ONE, content)
        wrong = Digest.of(b"wrong", algorithm)
        with pytest.raises(DigestMismatch):
            await store.commit_upload(ONE, upload, wrong, len(content))
        assert await blob(store, ONE, wrong) is None
        assert await blob(store, ONE, Digest.of(content, algorithm)) is None
        await _is_unknown(store, upload)

    async def test_mismatch_hurts_no_blob(self, store: Store) -> None:
        """A DigestMismatch leaves the blob of that digest as it is, here and elsewhere."""
        digest = await push(store, ONE, b"right")
        upload = await started(store, OTHER, b"wrong")
        with pytest.raises(DigestMismatch):
            await store.commit_upload(OTHER, upload, digest, 5)
        assert await blob(store, ONE, digest) == b"right"
        assert await blob(store, OTHER, digest) is None

    async def test_commit_of_known_content(self, store: Store) -> None:
        """Content that is stored already, here or elsewhere, is committed as any other."""
        for repository in (ONE, OTHER, ONE):
            upload = await started(store, repository, b"known")
            await store.commit_upload(repository, upload, Digest.of(b"known"), 5)
            assert await size(store, repository, upload) is None
            assert await blob(store, repository, Digest.of(b"known")) == b"known"

    async def test_commit_ends_the_session(self, store: Store) -> None:
        """A committed session is not known any more."""
        upload = await started(store, ONE)
        await store.commit_upload(ONE, upload, NOTHING, 0)
        await _is_unknown(store, upload)

    async def test_unseen_until_committed(self, store: Store) -> None:
        """The bytes of a session are no blob before the commit."""
        upload = await started(store, ONE, b"soon")
        assert await blob(store, ONE, Digest.of(b"soon")) is None
        await _finishes(store, upload, b"soon")

    async def test_sessions_are_apart(self, store: Store) -> None:
        """Sessions of one repository do not touch each other."""
        uploads = [await started(store, ONE, b"%d" % number) for number in range(5)]
        await store.cancel_upload(ONE, uploads[0])
        for number in (3, 1, 4, 2):
            await append(store, ONE, uploads[number], b"more", offset=1)
            await _finishes(store, uploads[number], b"%dmore" % number)

    async def test_cancel(self, store: Store, second: Store) -> None:
        """A cancelled session is known to no process any more, and its bytes are no blob."""
        upload = await started(store, ONE, b"dropped")
        await second.cancel_upload(ONE, upload)
        await _is_unknown(store, upload)
        assert await blob(store, ONE, Digest.of(b"dropped")) is None

    async def test_expiry(self, pair: Pair) -> None:
        """Sessions that have not grown for the given time end, whatever they hold; how many, is returned."""
        old = [
            (repository, await started(pair.store, repository, *held))
            for repository in (ONE, OTHER)
            for held in ((), (b"some",))
        ]
        young = [(repository, await started(pair.store, repository, b"young")) for repository in (ONE, OTHER)]
        for repository, upload in old:
            pair.age(repository, upload, 3600)
        assert await pair.store.expire_uploads(7200) == 0
        assert await pair.second.expire_uploads(1800) == 4
        assert [await size(pair.store, *session) for session in old] == [None] * 4
        assert [await size(pair.store, *session) for session in young] == [5, 5]
        assert await pair.store.expire_uploads(1800) == 0

    async def test_growth_is_no_idleness(self, pair: Pair) -> None:
        """A session that was started long ago and has grown since does not expire."""
        upload = await started(pair.store, ONE, b"old ")
        pair.age(ONE, upload, 3600)
        await append(pair.second, ONE, upload, b"and new")
        assert await pair.store.expire_uploads(1800) == 0
        await _finishes(pair.store, upload, b"old and new")

    async def test_blobs_do_not_expire(self, pair: Pair) -> None:
        """What was committed is no session any more, and does not expire."""
        digest = await push(pair.store, ONE, b"here to stay")
        assert await pair.store.expire_uploads(0) == 0
        assert await blob(pair.store, ONE, digest) == b"here to stay"

    async def test_one_expires_at_a_time(self, pair: Pair) -> None:
        """Where several expire at once, each session is counted by one of them."""
        for number in range(10):
            upload = await started(pair.store, ONE, b"%d" % number)
            pair.age(ONE, upload, 3600)
        counts = await asyncio.gather(*(each.expire_uploads(1800) for each in pair.stores * 3))
        assert sum(counts) == 10


async def _write_much(writer: UploadWriter) -> None:
    for _ in range(30):  # more than may be held back
        await writer.write(bytes(64 * KIB))


async def _take(store: Store, upload: UploadId, pieces: list[bytes], taken: list[int]) -> None:
    async with store.append_upload(ONE, upload, 0) as writer:
        for piece in pieces:
            await writer.write(piece)
            taken[0] = writer.offset
            await asyncio.sleep(0)


async def _take_and_wait(store: Store, upload: UploadId, piece: bytes, taken: asyncio.Event) -> None:
    async with store.append_upload(ONE, upload, 0) as writer:
        await writer.write(piece)
        taken.set()
        await asyncio.sleep(60)


async def _is_unknown(store: Store, upload: UploadId) -> None:
    """Prove that repository ONE knows of no such session."""
    for asked in (
        store.upload_size(ONE, upload),
        append(store, ONE, upload, b"more"),
        append(store, ONE, upload, b"more", offset=0),
        store.commit_upload(ONE, upload, NOTHING, 0),
        store.cancel_upload(ONE, upload),
    ):
        with pytest.raises(NotFound):
            await asked


async def _end(pair: Pair, upload: UploadId, end: str) -> None:
    if end == "commit":
        await pair.second.commit_upload(ONE, upload, Digest.of(b"whole"), 5)
    elif end == "cancel":
        await pair.second.cancel_upload(ONE, upload)
    elif end == "expire":
        pair.age(ONE, upload, 3600)
        assert await pair.second.expire_uploads(1800) == 1
    else:
        with pytest.raises(StoreError):
            await pair.second.commit_upload(ONE, upload, NOTHING, 5)
