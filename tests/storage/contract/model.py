"""Any sequence of calls: a store and a naive model of it give the same answers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from cargohold.storage.protocols import Conflict, DigestMismatch, NotFound, Store, StoreError
from cargohold.types.digest import Algorithm, Digest
from cargohold.types.names import RepositoryName, Tag, UploadId

from .base import Contract, Pair, append, blob, descriptors, document, sample, size, target

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence
    from contextlib import AbstractAsyncContextManager

Session = tuple[RepositoryName, UploadId]

REPOSITORIES = [RepositoryName(name) for name in ("a", "a/b", "a-b")]
TAGS = [Tag(name) for name in ("latest", "v1", "V1")]
CONTENTS = [b"", b"x", b"xy", b"xyz", bytes(5000)]
BLOBS = [Digest.of(content, algorithm) for content in CONTENTS for algorithm in Algorithm]
_ROOT = sample("root")
_SIGNATURE = sample("signature", _ROOT.digest, Algorithm.SHA512)
SAMPLES = [_ROOT, _SIGNATURE, sample("report", _ROOT.digest), sample("of the signature", _SIGNATURE.digest)]

repositories = st.sampled_from(REPOSITORIES)
pieces = st.lists(st.sampled_from([b"", b"x", b"y", b"z", bytes(5000)]), max_size=3)


class Model:
    """The state as plain relations, and what each call does to it or raises."""

    def __init__(self) -> None:
        self.blobs: dict[tuple[RepositoryName, Digest], bytes] = {}
        self.sessions: dict[Session, bytes] = {}
        self.idle: set[Session] = set()
        self.manifests: set[tuple[RepositoryName, int]] = set()  # by their place in SAMPLES
        self.tags: dict[tuple[RepositoryName, Tag], int] = {}

    def holds(self, session: Session) -> bytes:
        if session not in self.sessions:
            raise NotFound
        return self.sessions[session]

    def append(self, session: Session, added: bytes, offset: int | None) -> int:
        held = self.holds(session)
        if offset not in (None, len(held)):
            raise Conflict
        self.sessions[session] = held + added
        if added:
            self.idle.discard(session)
        return len(held + added)

    def commit_upload(self, session: Session, digest: Digest, length: int) -> None:
        if len(self.holds(session)) != length:
            raise Conflict
        content = self.sessions.pop(session)
        if Digest.of(content, digest.algorithm) != digest:
            raise DigestMismatch
        self.blobs[session[0], digest] = content

    def cancel_upload(self, session: Session) -> None:
        self.holds(session)
        del self.sessions[session]

    def expire_uploads(self) -> int:
        expired = self.idle & self.sessions.keys()
        for session in expired:
            del self.sessions[session]
        return len(expired)

    def mount_blob(self, digest: Digest, source: RepositoryName | None, to: RepositoryName) -> None:
        for (repository, held), content in self.blobs.items():
            if held == digest and source in (None, repository):
                self.blobs[to, digest] = content
                return
        raise NotFound

    def delete_blob(self, repository: RepositoryName, digest: Digest) -> None:
        if self.blobs.pop((repository, digest), None) is None:
            raise NotFound

    def commit_manifest(self, repository: RepositoryName, number: int, tags: Sequence[Tag]) -> None:
        self.manifests.add((repository, number))
        self.tags |= {(repository, tag): number for tag in tags}

    def delete_manifest(self, repository: RepositoryName, number: int) -> set[Tag]:
        if (repository, number) not in self.manifests:
            raise NotFound
        self.manifests.remove((repository, number))
        gone = {
            place for place, points_to in self.tags.items() if place[0] == repository and points_to == number
        }
        for place in gone:
            del self.tags[place]
        return {tag for _, tag in gone}

    def delete_tag(self, repository: RepositoryName, tag: Tag) -> None:
        if self.tags.pop((repository, tag), None) is None:
            raise NotFound

    def list_tags(self, repository: RepositoryName, after: str, limit: int) -> list[Tag]:
        if not any(name == repository for name, _ in self.manifests):
            raise NotFound
        return sorted(tag for name, tag in self.tags if name == repository and tag > after)[:limit]

    def list_repositories(self, after: str, limit: int) -> list[RepositoryName]:
        return sorted({name for name, _ in self.manifests if name > after})[:limit]

    def list_referrers(self, repository: RepositoryName, subject: Digest) -> list[bytes]:
        held = [SAMPLES[number] for name, number in self.manifests if name == repository]
        return descriptors(subject, held)


class StoreMachine(RuleBasedStateMachine):
    """Asks the two stores in turn, and the model, the same; compares all that can be seen."""

    uploads: Bundle[Session] = Bundle("uploads")
    opened: Callable[[], AbstractAsyncContextManager[Pair]]

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.Runner()
        self.opening = self.opened()
        self.pair: Pair = self.loop.run(_awaited(self.opening.__aenter__()))
        self.model = Model()
        self.turn = 0

    def teardown(self) -> None:
        self.loop.run(_awaited(self.opening.__aexit__(None, None, None)))
        self.loop.close()

    @property
    def store(self) -> Store:
        self.turn += 1
        return self.pair.stores[self.turn % 2]

    def same(self, step: Coroutine[Any, Any, Any], expected: Callable[[], object]) -> None:
        """The step returns what the model does, or raises the same error."""
        try:
            outcome = self.loop.run(step)
        except StoreError as error:
            outcome = type(error)
        try:
            answer = expected()
        except StoreError as error:
            answer = type(error)
        assert (set(outcome) if isinstance(answer, set) else outcome) == answer

    @rule(target=uploads, repository=repositories, algorithm=st.sampled_from(Algorithm))
    def create_upload(self, repository: RepositoryName, algorithm: Algorithm) -> Session:
        upload = self.loop.run(self.store.create_upload(repository, algorithm))
        self.model.sessions[repository, upload] = b""
        return repository, upload

    @rule(session=uploads, written=pieces, off=st.sampled_from([None, 0, 0, 1, -1]))
    def append(self, session: Session, written: list[bytes], off: int | None) -> None:
        offset = None if off is None else max(0, len(self.model.sessions.get(session, b"")) + off)
        step = append(self.store, *session, *written, offset=offset)
        self.same(step, lambda: self.model.append(session, b"".join(written), offset))

    @rule(session=uploads, first=st.sampled_from([b"x", b"yz"]), last=st.sampled_from([b"x", bytes(5000)]))
    def meet(self, session: Session, first: bytes, last: bytes) -> None:
        """Two writers at one end, of whom the later is refused."""

        async def step() -> None:
            async with self.store.append_upload(*session, None) as late:
                await append(self.store, *session, first)
                await late.write(last)

        def expected() -> None:
            self.model.append(session, first, None)
            raise Conflict

        self.same(step(), expected)

    @rule(session=uploads, astray=repositories)
    def ask_astray(self, session: Session, astray: RepositoryName) -> None:
        lost = (astray, session[1])
        self.same(self.store.upload_size(*lost), lambda: len(self.model.holds(lost)))

    @rule(session=uploads, algorithm=st.sampled_from(Algorithm))
    def commit_rightly(self, session: Session, algorithm: Algorithm) -> None:
        held = self.model.sessions.get(session, b"")
        self.commit_upload(session, Digest.of(held, algorithm), len(held))

    @rule(session=uploads, digest=st.sampled_from(BLOBS), off=st.sampled_from([0, 1, -1]))
    def commit_blindly(self, session: Session, digest: Digest, off: int) -> None:
        self.commit_upload(session, digest, max(0, len(self.model.sessions.get(session, b"")) + off))

    def commit_upload(self, session: Session, digest: Digest, length: int) -> None:
        step = self.store.commit_upload(*session, digest, length)
        self.same(step, lambda: self.model.commit_upload(session, digest, length))

    @rule(repository=repositories, content=st.sampled_from(CONTENTS), algorithm=st.sampled_from(Algorithm))
    def push_blob(self, repository: RepositoryName, content: bytes, algorithm: Algorithm) -> None:
        session = self.create_upload(repository, algorithm)
        self.append(session, [content], 0)
        self.commit_rightly(session, algorithm)

    @rule(session=uploads)
    def cancel_upload(self, session: Session) -> None:
        self.same(self.store.cancel_upload(*session), lambda: self.model.cancel_upload(session))

    @rule(session=uploads)
    def grow_idle(self, session: Session) -> None:
        if session in self.model.sessions:
            self.pair.age(*session, 3600.0)
            self.model.idle.add(session)

    @rule()
    def expire_uploads(self) -> None:
        self.same(self.store.expire_uploads(1800), self.model.expire_uploads)

    @rule(digest=st.sampled_from(BLOBS), source=st.none() | repositories, to=repositories)
    def mount_blob(self, digest: Digest, source: RepositoryName | None, to: RepositoryName) -> None:
        self.same(
            self.store.mount_blob(digest, source, to), lambda: self.model.mount_blob(digest, source, to)
        )

    @rule(repository=repositories, digest=st.sampled_from(BLOBS))
    def delete_blob(self, repository: RepositoryName, digest: Digest) -> None:
        self.same(
            self.store.delete_blob(repository, digest), lambda: self.model.delete_blob(repository, digest)
        )

    @rule(repository=repositories, number=st.integers(0, 3), tags=st.lists(st.sampled_from(TAGS), max_size=3))
    def commit_manifest(self, repository: RepositoryName, number: int, tags: list[Tag]) -> None:
        made = SAMPLES[number]
        step = self.store.commit_manifest(repository, made.digest, made.manifest, tags)
        self.same(step, lambda: self.model.commit_manifest(repository, number, tags))

    @rule(repository=repositories, number=st.integers(0, 3))
    def delete_manifest(self, repository: RepositoryName, number: int) -> None:
        step = self.store.delete_manifest(repository, SAMPLES[number].digest)
        self.same(step, lambda: self.model.delete_manifest(repository, number))

    @rule(repository=repositories, tag=st.sampled_from(TAGS))
    def delete_tag(self, repository: RepositoryName, tag: Tag) -> None:
        self.same(self.store.delete_tag(repository, tag), lambda: self.model.delete_tag(repository, tag))

    @rule(repository=repositories, after=st.sampled_from(["", "a", "a/b", *TAGS]), limit=st.integers(0, 3))
    def page(self, repository: RepositoryName, after: str, limit: int) -> None:
        lists = self.store.list_tags(repository, after, limit)
        self.same(lists, lambda: self.model.list_tags(repository, after, limit))
        catalog = self.store.list_repositories(after, limit)
        self.same(catalog, lambda: self.model.list_repositories(after, limit))

    @invariant()
    def all_is_seen_alike(self) -> None:
        self.loop.run(self.look())

    async def look(self) -> None:
        store, model = self.store, self.model
        assert await store.list_repositories("", 100) == model.list_repositories("", 100)
        for session in model.sessions:
            assert await size(store, *session) == len(model.sessions[session])
        for repository in REPOSITORIES:
            absent = [digest for digest in BLOBS if (repository, digest) not in model.blobs]
            assert await store.missing_blobs(repository, BLOBS) == absent
            for digest in BLOBS:
                assert await blob(store, repository, digest) == model.blobs.get((repository, digest))
            for tag in TAGS:
                number = model.tags.get((repository, tag))
                assert await target(store, repository, tag) == (
                    None if number is None else SAMPLES[number].digest
                )
            for number, made in enumerate(SAMPLES):
                expected = made.manifest.content if (repository, number) in model.manifests else None
                assert await document(store, repository, made.digest) == expected
                listed = await store.list_referrers(repository, made.digest)
                assert listed == model.list_referrers(repository, made.digest)


async def _awaited(step: Awaitable[Any]) -> Any:
    return await step


class ModelContract(Contract):
    """All of `Store`."""

    def test_agrees_with_a_naive_model(self) -> None:
        """Whatever is called in whatever order, answers, errors and state are those of a naive model."""
        machine = type("BoundMachine", (StoreMachine,), {"opened": staticmethod(self.opened)})
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=40,
                stateful_step_count=40,
                deadline=None,
                suppress_health_check=[HealthCheck.too_slow],  # a real store syncs to the disk
            ),
        )
