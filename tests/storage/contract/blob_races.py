"""Many tasks at once, on two stores over the same data: blobs and upload sessions."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import pytest

from cargohold.storage.protocols import NotFound
from cargohold.types.digest import Algorithm, Digest
from cargohold.types.names import RepositoryName, UploadId

from .base import (
    ONE,
    OTHER,
    Contract,
    Pair,
    append,
    blob,
    push,
    size,
    started,
)
from .racing import ROUNDS, cancelled_after, done, eventually, race

if TYPE_CHECKING:
    from cargohold.storage.protocols import Store


class BlobRaceContract(Contract):
    """Blobs and upload sessions."""

    async def test_one_blob_by_many(self, pair: Pair) -> None:
        """A blob that many push at once, to one repository and to others, is pushed by each."""
        content = bytes(range(256)) * 800
        names = [RepositoryName(f"pushed/{number % 4}") for number in range(24)]
        await asyncio.gather(
            *(push(pair.stores[number % 2], name, content) for number, name in enumerate(names))
        )
        for name in names:
            assert await blob(pair.store, name, Digest.of(content)) == content

    async def test_sessions_side_by_side(self, pair: Pair) -> None:
        """Sessions that grow at the same time hold each its own bytes."""

        async def client(number: int) -> None:
            content = b""
            upload = await pair.store.create_upload(ONE, Algorithm.SHA256)
            for turn in range(6):
                piece = bytes([number, turn]) * 10_000
                await append(pair.stores[turn % 2], ONE, upload, piece, offset=len(content))
                content += piece
            await pair.store.commit_upload(ONE, upload, Digest.of(content), len(content))
            assert await blob(pair.second, ONE, Digest.of(content)) == content

        await asyncio.gather(*map(client, range(16)))

    async def test_writers_of_one_session(self, pair: Pair) -> None:
        """Writers that meet never mix: a piece is there whole, where its writer began, or not at all."""
        for _ in range(10):
            upload = await pair.store.create_upload(ONE, Algorithm.SHA256)
            kept: dict[int, bytes] = {}

            async def client(number: int, upload: UploadId, kept: dict[int, bytes]) -> None:
                async with pair.stores[number % 2].append_upload(ONE, upload, None) as writer:
                    begin, piece = writer.offset, bytes([number]) * (1000 + number)
                    await writer.write(piece)
                kept[begin] = piece

            taken = await asyncio.gather(*(done(client(number, upload, kept)) for number in range(6)))
            assert sum(taken) == len(kept) >= 1
            content = b"".join(kept[begin] for begin in sorted(kept))
            assert await pair.store.upload_size(ONE, upload) == len(content)
            await pair.store.commit_upload(ONE, upload, Digest.of(content), len(content))

    async def test_one_of_many_commits(self, pair: Pair) -> None:
        """A session that many commit at once is committed by one; for the others it is NotFound."""
        for number in range(ROUNDS):
            content = b"%d" % number
            upload = await started(pair.store, ONE, content)
            commits = [
                each.commit_upload(ONE, upload, Digest.of(content), len(content)) for each in pair.stores * 2
            ]
            outcomes = await asyncio.gather(*commits, return_exceptions=True)
            assert sorted(map(type, outcomes), key=str) == sorted([type(None)] + [NotFound] * 3, key=str)
            assert await blob(pair.store, ONE, Digest.of(content)) == content

    @pytest.mark.parametrize("is_known", [False, True])
    @pytest.mark.parametrize("is_blind", [False, True])
    async def test_append_against_commit(self, pair: Pair, is_known: bool, is_blind: bool) -> None:
        """Of an append and a commit that meet, one is first and the other refused.

        So it is where the content is stored already, and where the append does not say at which offset.
        """
        for number in range(ROUNDS):
            content = b"begun %d" % number
            if is_known:
                await push(pair.store, OTHER, content)
            digest = Digest.of(content)
            upload = await started(pair.store, ONE, content)
            steps = [
                append(pair.store, ONE, upload, b"more", offset=None if is_blind else len(content)),
                pair.second.commit_upload(ONE, upload, digest, len(content)),
            ]
            appended, committed = await race(number, *steps)
            assert appended != committed
            assert await blob(pair.store, ONE, digest) == (content if committed else None)
            assert await size(pair.store, ONE, upload) == (None if committed else len(content) + 4)

    @pytest.mark.parametrize("end", ["cancel", "mismatch", "expire"])
    async def test_append_against_end(self, pair: Pair, end: str) -> None:
        """An append that meets the end of its session comes first and prevents it, or is refused."""
        for number in range(ROUNDS):
            upload = await started(pair.store, ONE, b"begun")
            pair.age(ONE, upload, 3600)
            ends = {
                "cancel": pair.second.cancel_upload(ONE, upload),
                "mismatch": pair.second.commit_upload(ONE, upload, Digest.of(b"other"), 5),
                "expire": pair.second.expire_uploads(1800),
            }
            ending = ends.pop(end)
            for unused in ends.values():
                unused.close()
            appended, _ = await race(number, append(pair.store, ONE, upload, b"more"), ending)
            held = await size(pair.store, ONE, upload)
            assert held == (9 if appended and end != "cancel" else None)

    async def test_commit_against_expiry(self, pair: Pair) -> None:
        """A commit that meets the expiry of its session is made or refused; a refused one leaves no blob."""
        for number in range(ROUNDS):
            content = b"nearly late %d" % number
            upload = await started(pair.store, ONE, content)
            pair.age(ONE, upload, 3600)
            commits = pair.store.commit_upload(ONE, upload, Digest.of(content), len(content))
            committed, _ = await race(number, commits, pair.second.expire_uploads(1800))
            assert await blob(pair.store, ONE, Digest.of(content)) == (content if committed else None)
            assert await size(pair.store, ONE, upload) is None

    async def test_one_of_many_cancels(self, pair: Pair) -> None:
        """A session that many cancel at once is cancelled by one; for the others it is NotFound."""
        for _ in range(ROUNDS):
            upload = await started(pair.store, ONE, b"dropped")
            cancels = [done(each.cancel_upload(ONE, upload)) for each in pair.stores * 2]
            assert sum(await asyncio.gather(*cancels)) == 1
            assert await size(pair.store, ONE, upload) is None

    @pytest.mark.parametrize("is_known", [False, True])
    async def test_session_is_whole_or_gone(self, pair: Pair, is_known: bool) -> None:
        """While a session is committed or cancelled it is seen with all its bytes or not at all."""
        seen: set[int | None] = set()
        ending = True

        async def watch(session: list[UploadId]) -> None:
            while ending:
                seen.add(await size(pair.second, ONE, session[0]))
                await asyncio.sleep(0)

        for number in range(ROUNDS):
            content = b"%08d" % number
            if is_known:
                await push(pair.store, OTHER, content)
            session = [await started(pair.store, ONE, content)]
            ending = True
            watching = asyncio.ensure_future(watch(session))
            await asyncio.sleep(0)
            if number % 4:
                await pair.store.commit_upload(ONE, session[0], Digest.of(content), 8)
            else:
                await pair.store.cancel_upload(ONE, session[0])
            ending = False
            await watching
        assert seen <= {8, None}

    async def test_cancel_against_commit(self, pair: Pair) -> None:
        """Of a cancel and a commit that meet, one ends the session; a blob comes of the commit alone."""
        for number in range(ROUNDS):
            content = b"wanted %d" % number
            upload = await started(pair.store, ONE, content)
            steps = [
                pair.store.cancel_upload(ONE, upload),
                pair.second.commit_upload(ONE, upload, Digest.of(content), len(content)),
            ]
            cancelled, committed = await race(number, *steps)
            assert cancelled != committed
            assert await blob(pair.store, ONE, Digest.of(content)) == (content if committed else None)

    async def test_delete_blob_against_push(self, pair: Pair) -> None:
        """A deletion that meets a push of the same blob comes before or after it."""
        digest = Digest.of(b"contended")
        for number in range(ROUNDS):
            upload = await started(pair.store, ONE, b"contended")
            held_before = await blob(pair.store, ONE, digest) is not None
            steps = [pair.store.delete_blob(ONE, digest), pair.second.commit_upload(ONE, upload, digest, 9)]
            deleted, pushed = await race(number, *steps)
            assert pushed
            found = await blob(pair.second, ONE, digest)
            assert found == b"contended" or (found is None and deleted)
            assert deleted or not held_before

    async def test_mount_against_delete_blob(self, pair: Pair) -> None:
        """A mount that meets the deletion at its source comes before it, or is refused."""
        for number in range(ROUNDS):
            content = b"to be mounted %d" % number
            digest = await push(pair.store, ONE, content)
            steps = [pair.second.mount_blob(digest, ONE, OTHER), pair.store.delete_blob(ONE, digest)]
            mounted, deleted = await race(number, *steps)
            assert deleted
            assert await blob(pair.store, ONE, digest) is None
            assert await blob(pair.store, OTHER, digest) == (content if mounted else None)

    async def test_cancelled_upload_commit(self, pair: Pair) -> None:
        """A cancelled commit was made or was not: tried again, it succeeds or finds the session gone."""
        for pauses in range(30):
            content = b"committed %d" % pauses
            digest = Digest.of(content)
            upload = await started(pair.store, ONE, content)
            await cancelled_after(pair.store.commit_upload(ONE, upload, digest, len(content)), pauses)
            await done(pair.second.commit_upload(ONE, upload, digest, len(content)))
            await eventually(partial(_is_committed, pair.store, upload, content))

    async def test_cancelled_mount_and_deletions(self, pair: Pair) -> None:
        """Whatever is cancelled was made or was not, and can be asked for again."""
        for pauses in range(1, 20):
            content = b"mounted %d" % pauses
            digest = await push(pair.store, ONE, content)
            upload = await started(pair.store, ONE, content)
            await cancelled_after(pair.store.create_upload(ONE, Algorithm.SHA256), pauses)
            await cancelled_after(pair.store.mount_blob(digest, ONE, OTHER), pauses)
            assert await blob(pair.second, OTHER, digest) in (None, content)
            await pair.second.mount_blob(digest, ONE, OTHER)
            assert await blob(pair.store, OTHER, digest) == content
            await cancelled_after(pair.store.cancel_upload(ONE, upload), pauses)
            assert await size(pair.second, ONE, upload) in (None, len(content))
            await done(pair.second.cancel_upload(ONE, upload))
            assert await size(pair.store, ONE, upload) is None
            await cancelled_after(done(pair.store.delete_blob(OTHER, digest)), pauses)
            await done(pair.second.delete_blob(OTHER, digest))
            assert await blob(pair.store, OTHER, digest) is None
            assert await blob(pair.store, ONE, digest) == content


async def _is_committed(store: Store, upload: UploadId, content: bytes) -> None:
    assert await size(store, ONE, upload) is None
    assert await blob(store, ONE, Digest.of(content)) == content
