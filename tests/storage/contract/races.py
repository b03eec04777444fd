"""Many tasks at once, on two stores over the same data: each call is one step, before or after another."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from cargohold.storage.protocols import Conflict, NotFound
from cargohold.types.digest import Algorithm, Digest
from cargohold.types.names import RepositoryName, Tag, UploadId

from .base import (
    LATEST,
    ONE,
    OTHER,
    Contract,
    Pair,
    append,
    blob,
    commit,
    descriptors,
    document,
    push,
    sample,
    size,
    started,
    tags_of,
    target,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine

    from cargohold.storage.protocols import Store

FIRST, SECOND = sample("first"), sample("second")
ROUNDS = 40


async def _done(step: Awaitable[object]) -> bool:
    """Whether the step was taken; False where the store said that what it needs is not so."""
    try:
        await step
    except (NotFound, Conflict):
        return False
    return True


async def _cancelled_after(step: Coroutine[object, object, object], pauses: int) -> None:
    """Start the step and cancel it when the loop has turned so often, unless it has ended by then."""
    task = asyncio.ensure_future(step)
    for _ in range(pauses):
        await asyncio.sleep(0)
    task.cancel()
    (outcome,) = await asyncio.gather(task, return_exceptions=True)
    assert outcome is None or isinstance(outcome, asyncio.CancelledError)


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

            done = await asyncio.gather(*(_done(client(number, upload, kept)) for number in range(6)))
            assert sum(done) == len(kept) >= 1
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

    async def test_append_against_commit(self, pair: Pair) -> None:
        """Of an append and a commit that meet, one is first and the other refused."""
        for number in range(ROUNDS):
            content = b"begun %d" % number
            digest = Digest.of(content)
            upload = await started(pair.store, ONE, content)
            steps = [
                append(pair.store, ONE, upload, b"more", offset=len(content)),
                pair.second.commit_upload(ONE, upload, digest, len(content)),
            ]
            appended, committed = await _race(number, *steps)
            assert appended != committed
            assert await blob(pair.store, ONE, digest) == (content if committed else None)
            assert await size(pair.store, ONE, upload) == (None if committed else len(content) + 4)

    async def test_cancel_against_commit(self, pair: Pair) -> None:
        """Of a cancel and a commit that meet, one ends the session; a blob comes of the commit alone."""
        for number in range(ROUNDS):
            content = b"wanted %d" % number
            upload = await started(pair.store, ONE, content)
            steps = [
                pair.store.cancel_upload(ONE, upload),
                pair.second.commit_upload(ONE, upload, Digest.of(content), len(content)),
            ]
            cancelled, committed = await _race(number, *steps)
            assert cancelled != committed
            assert await blob(pair.store, ONE, Digest.of(content)) == (content if committed else None)

    async def test_delete_blob_against_push(self, pair: Pair) -> None:
        """A deletion that meets a push of the same blob comes before or after it."""
        digest = Digest.of(b"contended")
        for number in range(ROUNDS):
            upload = await started(pair.store, ONE, b"contended")
            held_before = await blob(pair.store, ONE, digest) is not None
            steps = [pair.store.delete_blob(ONE, digest), pair.second.commit_upload(ONE, upload, digest, 9)]
            deleted, pushed = await _race(number, *steps)
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
            mounted, deleted = await _race(number, *steps)
            assert deleted
            assert await blob(pair.store, ONE, digest) is None
            assert await blob(pair.store, OTHER, digest) == (content if mounted else None)

    async def test_cancelled_upload_commit(self, pair: Pair) -> None:
        """A cancelled commit was made or was not: tried again, it succeeds or finds the session gone."""
        for pauses in range(30):
            content = b"committed %d" % pauses
            digest = Digest.of(content)
            upload = await started(pair.store, ONE, content)
            await _cancelled_after(pair.store.commit_upload(ONE, upload, digest, len(content)), pauses)
            await _done(pair.second.commit_upload(ONE, upload, digest, len(content)))
            assert await size(pair.store, ONE, upload) is None
            assert await blob(pair.store, ONE, digest) == content


class ManifestRaceContract(Contract):
    """Manifests, tags, referrers, lists."""

    async def test_delete_manifest_against_commit(self, pair: Pair) -> None:
        """Deleting a manifest while it is committed again ends with manifest and tag, or with neither."""
        made = sample("contended", subject=FIRST.digest)
        for number in range(ROUNDS):
            await commit(pair.store, ONE, made, LATEST)
            steps = [pair.second.delete_manifest(ONE, made.digest), commit(pair.store, ONE, made, LATEST)]
            assert await _race(number, *steps) == [True, True]
            await _is_whole_or_gone(pair.store, made.digest, descriptors(FIRST.digest, [made]))
            await _is_whole_or_gone(pair.second, made.digest, descriptors(FIRST.digest, [made]))

    async def test_delete_manifest_against_first_commit(self, pair: Pair) -> None:
        """A deletion that meets the first commit of its manifest is refused, or takes the tag too."""
        for number in range(ROUNDS):
            made = sample(f"new {number}", subject=FIRST.digest)
            steps = [pair.second.delete_manifest(ONE, made.digest), commit(pair.store, ONE, made, LATEST)]
            deleted, committed = await _race(number, *steps)
            assert committed
            assert (await document(pair.store, ONE, made.digest) is None) == deleted
            await _is_whole_or_gone(pair.store, made.digest, descriptors(FIRST.digest, [made]))
            if not deleted:
                assert await pair.store.delete_manifest(ONE, made.digest) == [LATEST]

    async def test_delete_manifest_against_move(self, pair: Pair) -> None:
        """Deleting a manifest never takes a tag that has moved on to another, nor moves it back."""
        for number in range(ROUNDS):
            await commit(pair.store, ONE, FIRST, LATEST)
            steps = [pair.second.delete_manifest(ONE, FIRST.digest), commit(pair.store, ONE, SECOND, LATEST)]
            assert await _race(number, *steps) == [True, True]
            assert await document(pair.store, ONE, FIRST.digest) is None
            assert await target(pair.store, ONE, LATEST) == SECOND.digest
            assert await tags_of(pair.second, ONE) == [LATEST]

    async def test_delete_tag_against_move(self, pair: Pair) -> None:
        """A tag that is deleted while it moves is gone, or points to where it moved."""
        for number in range(ROUNDS):
            await commit(pair.store, ONE, FIRST, LATEST)
            steps = [pair.second.delete_tag(ONE, LATEST), commit(pair.store, ONE, SECOND, LATEST)]
            assert await _race(number, *steps) == [True, True]
            found = await target(pair.store, ONE, LATEST)
            assert found in (None, SECOND.digest)
            assert await tags_of(pair.store, ONE) == ([LATEST] if found else [])

    async def test_many_delete_one(self, pair: Pair) -> None:
        """A manifest that many delete at once is deleted by one, who has all its tags; a tag likewise."""
        for _ in range(10):
            tags = [Tag(f"t{number}") for number in range(5)]
            await commit(pair.store, ONE, FIRST, *tags, LATEST)
            assert (
                sum(await asyncio.gather(*(_done(each.delete_tag(ONE, LATEST)) for each in pair.stores * 2)))
                == 1
            )
            deletions = [each.delete_manifest(ONE, FIRST.digest) for each in pair.stores * 2]
            outcomes = await asyncio.gather(*deletions, return_exceptions=True)
            returned = [each for each in outcomes if isinstance(each, list)]
            assert [sorted(each) for each in returned] == [tags]
            assert sum(isinstance(each, NotFound) for each in outcomes) == 3

    async def test_moves_of_one_tag(self, pair: Pair) -> None:
        """Of many who move one tag at once one is last, and has it; the manifests are all there."""
        made = [sample(f"moved to {number}") for number in range(8)]
        await asyncio.gather(
            *(commit(pair.stores[number % 2], ONE, each, LATEST) for number, each in enumerate(made))
        )
        last = await target(pair.store, ONE, LATEST)
        assert last in [each.digest for each in made]
        assert await target(pair.second, ONE, LATEST) == last
        assert await pair.store.missing_manifests(ONE, [each.digest for each in made]) == []
        assert await tags_of(pair.store, ONE) == [LATEST]

    async def test_tag_means_manifest(self, pair: Pair) -> None:
        """A reader who sees a tag sees its manifest, while the tag moves on and on; the tag is never away."""
        await commit(pair.store, ONE, FIRST, LATEST)
        moving = True

        async def reader(store: Store) -> int:
            seen = set()
            while moving:
                digest = await store.resolve_tag(ONE, LATEST)
                assert Digest.of(await store.read_manifest(ONE, digest)) == digest
                assert await store.list_tags(ONE, "", 10) == [LATEST]
                seen.add(digest)
                await asyncio.sleep(0)
            return len(seen)

        readers = [asyncio.ensure_future(reader(each)) for each in pair.stores * 2]
        for number in range(ROUNDS):
            await commit(pair.store, ONE, sample(f"moved to {number}"), LATEST)
            await asyncio.sleep(0)
        moving = False
        assert max(await asyncio.gather(*readers)) > 1

    async def test_tag_never_dangles(self, pair: Pair) -> None:
        """A tag whose manifest has been deleted does not point there any more: the tag is gone first."""
        moving = True

        async def reader(store: Store) -> None:
            while moving:
                digest = await target(store, ONE, LATEST)
                if digest is not None and await store.missing_manifests(ONE, [digest]):
                    assert await target(store, ONE, LATEST) != digest
                await asyncio.sleep(0)

        readers = [asyncio.ensure_future(reader(each)) for each in pair.stores]
        for number in range(ROUNDS):
            made = sample(f"short-lived {number}")
            await commit(pair.store, ONE, made, LATEST)
            await asyncio.sleep(0)
            assert await pair.second.delete_manifest(ONE, made.digest) == [LATEST]
            await asyncio.sleep(0)
        moving = False
        await asyncio.gather(*readers)

    async def test_tags_by_many(self, pair: Pair) -> None:
        """Tags that many set at once in one repository are all there and all listed."""
        tags = [Tag(f"build-{number:03}") for number in range(50)]
        made = [FIRST, SECOND]
        await asyncio.gather(
            *(commit(pair.stores[n % 2], ONE, made[n % 2], tag) for n, tag in enumerate(tags))
        )
        for each in pair.stores:
            assert await tags_of(each, ONE) == tags
            assert [await target(each, ONE, tag) for tag in tags[:2]] == [FIRST.digest, SECOND.digest]

    async def test_repositories_by_many(self, pair: Pair) -> None:
        """Repositories that many make at once are all listed; none when many have emptied them at once."""
        names = [RepositoryName(f"made/{number:02}/{number % 3}") for number in range(30)]
        await asyncio.gather(
            *(commit(pair.stores[n % 2], name, FIRST, LATEST) for n, name in enumerate(names))
        )
        for each in pair.stores:
            assert await each.list_repositories("", 100) == names
        await asyncio.gather(
            *(pair.stores[n % 2].delete_manifest(name, FIRST.digest) for n, name in enumerate(names))
        )
        for each in pair.stores:
            assert await each.list_repositories("", 100) == []

    async def test_last_manifest_against_first(self, pair: Pair) -> None:
        """A repository whose last manifest goes while another comes is listed."""
        for number in range(ROUNDS):
            going, coming = (FIRST, SECOND) if number % 2 else (SECOND, FIRST)
            await commit(pair.store, ONE, going, LATEST)
            steps = [pair.second.delete_manifest(ONE, going.digest), commit(pair.store, ONE, coming, LATEST)]
            assert await _race(number // 2, *steps) == [True, True]
            assert await pair.second.list_repositories("", 10) == [ONE]
            assert await tags_of(pair.second, ONE) == [LATEST]
            await pair.store.delete_manifest(ONE, coming.digest)
            assert await pair.second.list_repositories("", 10) == []

    async def test_referrers_by_many(self, pair: Pair) -> None:
        """Referrers that many commit at once are all listed; those that many delete at once are not."""
        made = [sample(f"of first {number}", FIRST.digest) for number in range(30)]
        await asyncio.gather(*(commit(pair.stores[n % 2], ONE, each) for n, each in enumerate(made)))
        assert await pair.second.list_referrers(ONE, FIRST.digest) == descriptors(FIRST.digest, made)
        await asyncio.gather(
            *(pair.stores[n % 2].delete_manifest(ONE, each.digest) for n, each in enumerate(made[::2]))
        )
        assert await pair.second.list_referrers(ONE, FIRST.digest) == descriptors(FIRST.digest, made[1::2])

    async def test_cancelled_manifest_commit(self, pair: Pair) -> None:
        """A cancelled commit leaves nothing that a second try does not mend; no tag points to nothing."""
        for pauses in range(30):
            made = sample(f"committed {pauses}", subject=FIRST.digest)
            await _cancelled_after(commit(pair.store, ONE, made, LATEST), pauses)
            await commit(pair.second, ONE, made, LATEST)
            await _is_whole_or_gone(pair.store, made.digest, descriptors(FIRST.digest, [made]))
            await _cancelled_after(_delete(pair.store, made.digest), pauses)
            await _done(pair.second.delete_manifest(ONE, made.digest))
            assert await document(pair.store, ONE, made.digest) is None
            await _is_whole_or_gone(pair.store, made.digest, [])


async def _race(number: int, *steps: Coroutine[object, object, object]) -> list[bool]:
    """Take the steps at once, started in turn from either end; which were taken, in the order given."""
    order = steps if number % 2 else steps[::-1]
    taken = await asyncio.gather(*map(_done, order))
    return taken if number % 2 else taken[::-1]


async def _delete(store: Store, digest: Digest) -> None:
    await store.delete_manifest(ONE, digest)


async def _is_whole_or_gone(store: Store, digest: Digest, listed: list[bytes]) -> None:
    """Prove that manifest, tag and place among the referrers are all there or all gone."""
    if await document(store, ONE, digest) is None:
        assert await target(store, ONE, LATEST) is None
        assert await store.list_referrers(ONE, FIRST.digest) == []
        assert not await tags_of(store, ONE)
    else:
        assert await target(store, ONE, LATEST) == digest
        assert await store.list_referrers(ONE, FIRST.digest) == listed
        assert await tags_of(store, ONE) == [LATEST]
