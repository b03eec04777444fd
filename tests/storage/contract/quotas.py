"""Quotas: nothing goes beyond them, and nothing is refused while there is room."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from cargohold.storage.protocols import OverQuota
from cargohold.types.digest import Algorithm, Digest
from cargohold.types.names import RepositoryName
from cargohold.types.quotas import Quota

from .base import LATEST, ONE, OTHER, Contract, append, blob, commit, document, push, sample, size, started

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator, Sequence

    from cargohold.storage.protocols import Store
    from cargohold.types.names import UploadId

    from .base import Pair

APART = RepositoryName("elsewhere")
EACH = Quota("library/*", 1_000, each=True)
TOGETHER = Quota("library/**", 1_000)
FIRST = sample("first")
FIRST_BYTES = len(FIRST.manifest.content)


async def refused(step: Coroutine[object, object, object]) -> OverQuota:
    """What the store says of a step for which there is no room."""
    with pytest.raises(OverQuota) as caught:
        await step
    return caught.value


async def fits(step: Coroutine[object, object, object]) -> bool:
    """Take a step, if there is room; whether there was."""
    try:
        await step
    except OverQuota:
        return False
    return True


async def left(store: Store, repository: RepositoryName, quota: Quota) -> int:
    """How many bytes there is room for, as a step says that asks for too many; an open session is left."""
    upload = await store.create_upload(repository, Algorithm.SHA256)
    over = await refused(_enter(store, repository, upload, quota.bytes + 1))
    return quota.bytes - over.used


async def _enter(store: Store, repository: RepositoryName, upload: UploadId, length: int) -> None:
    async with store.append_upload(repository, upload, None, length):
        pass


@pytest.mark.usefixtures("loop")
class QuotaContract(Contract):
    """The rules of quotas, for a store that is opened with them."""

    @pytest.mark.parametrize("quota", [EACH, TOGETHER])
    async def test_up_to_the_last_byte(self, quota: Quota) -> None:
        """All of a quota can be used, and not a byte more; the session that it was for goes on when there is room."""
        async with self.opened(quota) as pair:
            digest = await push(pair.store, ONE, bytes(600))
            upload = await started(pair.second, ONE, b"x" * 399)
            over = await refused(append(pair.store, ONE, upload, b"yz"))
            assert (over.quota, over.used, over.more) == (quota, 999, 2)
            assert over.repository == (ONE if quota.each else None)
            assert await size(pair.second, ONE, upload) == 399
            await append(pair.second, ONE, upload, b"y")
            assert (await refused(append(pair.second, ONE, upload, b"z"))).used == 1_000
            await pair.second.delete_blob(ONE, digest)
            await append(pair.store, ONE, upload, b"z" * 600)
            content = b"x" * 399 + b"y" + b"z" * 600
            await pair.store.commit_upload(ONE, upload, Digest.of(content), 1_000)
            assert await blob(pair.second, ONE, Digest.of(content)) == content

    async def test_each_for_itself_or_all_together(self) -> None:
        """A quota of each leaves a repository what others use; of one for all together, others use it up."""
        async with self.opened(EACH) as pair:
            for repository in (ONE, OTHER):
                await push(pair.store, repository, bytes(1_000))
                await refused(pair.second.create_upload(repository, Algorithm.SHA256))
        async with self.opened(TOGETHER) as pair:
            await push(pair.store, ONE, bytes(1_000))
            for store in pair.stores:
                await refused(store.create_upload(OTHER, Algorithm.SHA256))
            await push(pair.store, APART, bytes(5_000))

    async def test_every_quota_holds(self) -> None:
        """Where several match, the one that is used up decides, whichever it is."""
        small = Quota("**", 700)
        for quotas in (
            [EACH, small],
            [small, EACH],
            [Quota("library/one", 700), TOGETHER],
            [TOGETHER, small],
        ):
            async with self.opened(*quotas) as pair:
                await push(pair.store, ONE, bytes(700))
                assert (await refused(push(pair.second, ONE, b"1"))).quota.bytes == 700
        async with self.opened(EACH, Quota("library/one", 300, each=True)) as pair:
            await push(pair.store, ONE, bytes(200))
            assert (await refused(push(pair.second, ONE, bytes(101)))).quota.bytes == 300

    async def test_what_is_used(self) -> None:
        """Of all together it is told what they use, of each what the one uses that uses most; by whichever store."""
        of_one = Quota("library/one", 5_000)
        async with self.opened(EACH, TOGETHER, Quota("library/**", 9_000), of_one) as pair:
            assert {each.quota: each.used for each in await pair.second.quota_use()} == {
                EACH: 0,
                TOGETHER: 0,
                of_one: 0,
            }
        async with self.opened(EACH, TOGETHER, of_one) as pair:
            await push(pair.store, ONE, bytes(300))
            await push(pair.store, OTHER, bytes(200))
            await started(pair.second, OTHER, bytes(200))
            for store in (pair.second, pair.store):
                assert {each.quota: each.used for each in await store.quota_use()} == {
                    EACH: 400,
                    TOGETHER: 700,
                    of_one: 300,
                }
        async with self.opened() as pair:
            assert list(await pair.store.quota_use()) == []

    async def test_no_session_without_room(self) -> None:
        """Where nothing is left, no session is started; where a byte is, one is."""
        async with self.opened(TOGETHER) as pair:
            await push(pair.store, ONE, bytes(999))
            upload = await pair.second.create_upload(OTHER, Algorithm.SHA256)
            await append(pair.second, OTHER, upload, b"1")
            over = await refused(pair.store.create_upload(ONE, Algorithm.SHA256))
            assert (over.used, over.more) == (1_000, 1)
            await pair.store.cancel_upload(OTHER, upload)
            await pair.second.create_upload(ONE, Algorithm.SHA256)

    async def test_what_was_announced(self) -> None:
        """A writer that is to write more than fits is refused at once, and one of which that is not known later."""
        async with self.opened(TOGETHER) as pair:
            upload = await started(pair.store, ONE, bytes(400))
            assert (await refused(_enter(pair.store, ONE, upload, 601))).more == 601
            await _enter(pair.store, ONE, upload, 600)
            assert await append(pair.second, ONE, upload, b"1" * 600) == 1_000

    async def test_a_writer_that_was_refused(self) -> None:
        """What did not fit is not there, and nothing that came after it; what fitted before it may be."""
        big = Quota("library/**", 3 << 20)
        async with self.opened(big) as pair:
            upload = await started(pair.store, ONE, b"begun")
            await refused(append(pair.store, ONE, upload, *[bytes(1 << 20)] * 8))
            found = await size(pair.second, ONE, upload)
            assert found is not None
            assert found % (1 << 20) == len(b"begun")
            async with pair.store.append_upload(ONE, upload, None) as writer:
                await writer.write(b"1" * (big.bytes - found))
            assert await size(pair.second, ONE, upload) == big.bytes

    async def test_after_a_refusal(self) -> None:
        """A writer that goes on after it was refused is refused again, though what it brings then would fit."""
        async with self.opened(Quota("library/**", 3 << 20)) as pair:
            upload = await started(pair.store, ONE)
            assert await self._write_on(pair.store, upload) == [True, *[False] * 5]
            assert await size(pair.second, ONE, upload) == 0

    @staticmethod
    async def _write_on(store: Store, upload: UploadId) -> list[bool]:
        """Whether writes succeed of which the first, that may be held back for a while, is too long."""
        found: list[bool] = []
        with suppress(OverQuota):
            async with store.append_upload(ONE, upload, None) as writer:
                with suppress(OverQuota):
                    await writer.write(bytes(4 << 20))
                found = [True] + [await fits(writer.write(bytes(1 << 19))) for _ in range(5)]
        return found

    async def test_a_shared_blob(self) -> None:
        """A blob counts once in a repository, and in each that it is mounted to; a second upload is given back."""
        async with self.opened(TOGETHER) as pair:
            digest = await push(pair.store, ONE, bytes(300))
            await push(pair.second, ONE, bytes(300))
            assert await left(pair.store, ONE, TOGETHER) == 700
            await pair.store.mount_blob(digest, ONE, OTHER)
            await pair.second.mount_blob(digest, ONE, OTHER)
            assert await left(pair.second, ONE, TOGETHER) == 400
            await push(pair.store, ONE, b"1" * 200)
            over = await refused(pair.store.mount_blob(digest, ONE, RepositoryName("library/third")))
            assert (over.used, over.more) == (800, 300)
            assert await blob(pair.second, RepositoryName("library/third"), digest) is None
            await pair.second.mount_blob(digest, ONE, OTHER)
            await pair.second.mount_blob(digest, ONE, APART)

    async def test_manifests(self) -> None:
        """A manifest counts in each repository that holds it; storing it again, or moving a tag to it, is free."""
        quota = Quota("library/**", FIRST_BYTES)
        async with self.opened(quota) as pair:
            await commit(pair.store, ONE, FIRST)
            await commit(pair.second, ONE, FIRST, LATEST)
            over = await refused(commit(pair.second, OTHER, FIRST))
            assert (over.used, over.more) == (FIRST_BYTES, FIRST_BYTES)
            assert await document(pair.store, OTHER, FIRST.digest) is None
            await commit(pair.second, APART, FIRST)
            await pair.store.delete_manifest(ONE, FIRST.digest)
            await commit(pair.second, OTHER, FIRST)

    async def test_what_takes_no_room(self) -> None:
        """Where nothing is left, an upload can still be finished, and what is there already be mounted or pushed."""
        content = bytes(1_000 - FIRST_BYTES)
        async with self.opened(TOGETHER) as pair:
            await commit(pair.store, ONE, FIRST)
            upload = await started(pair.store, ONE, content)
            await refused(pair.second.create_upload(ONE, Algorithm.SHA256))
            await pair.second.commit_upload(ONE, upload, Digest.of(content), len(content))
            await pair.second.mount_blob(Digest.of(content), ONE, ONE)
            await commit(pair.second, ONE, FIRST, LATEST)
            assert await blob(pair.store, ONE, Digest.of(content)) == content

    @pytest.mark.parametrize("seed", range(4))
    async def test_whatever_is_done(self, seed: int) -> None:
        """After any steps, by either store, a step is refused exactly if it would lead beyond a quota."""
        quotas = [Quota("library/**", 3_000), Quota("library/*", 2_000, each=True)]
        async with self.opened(*quotas) as pair:
            walk = _Walk(pair, random.Random(seed), quotas)
            for _ in range(150):
                await walk.step()
            assert walk.refusals > 5, "nothing was near the limit"

    async def test_many_at_once(self) -> None:
        """Of many who upload, mount and push at once, exactly so many are let through as there is room for."""
        for number in range(8):
            quota = Quota("library/**", 10_500)
            async with self.opened(quota) as pair:
                mounted = [await push(pair.store, APART, bytes([each]) * 1_000) for each in range(10)]
                uploads = [await started(pair.stores[each % 2], ONE) for each in range(10)]
                steps: list[Coroutine[object, object, object]] = [
                    pair.stores[each % 2].mount_blob(digest, APART, OTHER)
                    for each, digest in enumerate(mounted)
                ]
                steps += [
                    append(pair.stores[each % 2], ONE, upload, bytes(1_000))
                    for each, upload in enumerate(uploads)
                ]
                random.Random(number).shuffle(steps)
                assert sum(await asyncio.gather(*map(fits, steps))) == 10
                assert await left(pair.store, ONE, quota) == 500
                upload = await started(pair.second, ONE, b"1" * 500)
                await refused(append(pair.store, ONE, upload, b"1"))

    async def test_commits_at_the_limit(self) -> None:
        """Bytes that become a blob are counted at every moment: whoever adds others meanwhile is refused."""
        quota = Quota("library/**", 5_000)
        async with self.opened(quota) as pair:
            await pair.store.create_upload(ONE, Algorithm.SHA256)
            waiting = await pair.second.create_upload(ONE, Algorithm.SHA256)
            for number in range(20):
                content = [b"%d-%d" % (number, each) + bytes(990) for each in range(5)]
                uploads = [await started(pair.store, ONE, each) for each in content]
                room = 5_000 - sum(map(len, content))
                commits = [
                    pair.store.commit_upload(ONE, upload, Digest.of(each), len(each))
                    for upload, each in zip(uploads, content, strict=True)
                ]
                tries = [append(pair.second, ONE, waiting, bytes(room + 1)) for _ in range(5)]
                *_, tried = await asyncio.gather(*commits, _any_fits(tries))
                assert not tried
                for each in content:
                    await pair.second.delete_blob(ONE, Digest.of(each))


async def _any_fits(steps: Sequence[Coroutine[object, object, object]]) -> bool:
    return any([await fits(step) for step in steps])


class _Walk:
    """Steps that are taken at random, and what the repositories hold after them."""

    def __init__(self, pair: Pair, chance: random.Random, quotas: list[Quota]) -> None:
        self.pair = pair
        self.chance = chance
        self.quotas = quotas
        self.refusals = 0
        self.blobs: dict[RepositoryName, dict[Digest, int]] = {ONE: {}, OTHER: {}, APART: {}}
        self.manifests: dict[RepositoryName, dict[Digest, int]] = {ONE: {}, OTHER: {}, APART: {}}
        self.sessions: dict[tuple[RepositoryName, UploadId], bytes] = {}

    @property
    def store(self) -> Store:
        return self.chance.choice(self.pair.stores)

    async def step(self) -> None:
        """One of all steps."""
        steps = [self.start, self.append, self.append, self.commit, self.mount, self.push, self.remove]
        await self.chance.choice(steps)(self.chance.choice([ONE, OTHER, APART]))

    async def judge(
        self, repository: RepositoryName, more: int, step: Coroutine[object, object, object]
    ) -> bool:
        """Take a step that needs so much room; it is refused exactly if there is less."""
        has_room = all(
            self.used(quota, repository) + more <= quota.bytes for quota in self.limits(repository)
        )
        assert await fits(step) == (has_room or not more), (repository, more)
        self.refusals += bool(more) and not has_room
        return has_room or not more

    def limits(self, repository: RepositoryName) -> list[Quota]:
        return [] if repository == APART else self.quotas

    def used(self, quota: Quota, repository: RepositoryName) -> int:
        return sum(map(self.held, [repository] if quota.each else [ONE, OTHER]))

    def held(self, repository: RepositoryName) -> int:
        sessions = sum(len(data) for (of, _), data in self.sessions.items() if of == repository)
        return sessions + sum(self.blobs[repository].values()) + sum(self.manifests[repository].values())

    def some_session(self, repository: RepositoryName) -> Iterator[tuple[RepositoryName, UploadId]]:
        found = [session for session in self.sessions if session[0] == repository]
        if found:
            yield self.chance.choice(found)

    async def start(self, repository: RepositoryName) -> None:
        made: list[UploadId] = []

        async def step() -> None:
            made.append(await self.store.create_upload(repository, Algorithm.SHA256))

        if await self.judge(repository, 1, step()):
            self.sessions[repository, made[0]] = b""

    async def append(self, repository: RepositoryName) -> None:
        for session in self.some_session(repository):
            data = bytes([self.chance.randrange(3)]) * self.chance.choice([100, 500, 900])
            if await self.judge(repository, len(data), append(self.store, *session, data)):
                self.sessions[session] += data

    async def commit(self, repository: RepositoryName) -> None:
        for session in self.some_session(repository):
            data = self.sessions.pop(session)
            digest = Digest.of(data)
            await self.store.commit_upload(*session, digest, len(data))
            self.blobs[repository][digest] = len(data)

    async def mount(self, repository: RepositoryName) -> None:
        source = self.chance.choice([ONE, OTHER, APART])
        if self.blobs[source]:
            digest = self.chance.choice(list(self.blobs[source]))
            length = self.blobs[source][digest]
            more = 0 if digest in self.blobs[repository] else length
            if await self.judge(repository, more, self.store.mount_blob(digest, source, repository)):
                self.blobs[repository][digest] = length

    async def push(self, repository: RepositoryName) -> None:
        made = sample(str(self.chance.randrange(4)))
        more = 0 if made.digest in self.manifests[repository] else len(made.manifest.content)
        if await self.judge(repository, more, commit(self.store, repository, made, LATEST)):
            self.manifests[repository][made.digest] = len(made.manifest.content)

    async def remove(self, repository: RepositoryName) -> None:
        if self.blobs[repository] and self.chance.random() < 0.5:
            digest = self.chance.choice(list(self.blobs[repository]))
            await self.store.delete_blob(repository, digest)
            del self.blobs[repository][digest]
        elif self.manifests[repository]:
            digest = self.chance.choice(list(self.manifests[repository]))
            await self.store.delete_manifest(repository, digest)
            del self.manifests[repository][digest]
        else:
            for session in self.some_session(repository):
                await self.store.cancel_upload(*session)
                del self.sessions[session]
