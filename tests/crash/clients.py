"""Clients of a store in this process, each with blobs, manifests and tags of its own; they tell what they were told."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from cargohold.storage.filesystem import FilesystemStore
from cargohold.storage.protocols import DigestMismatch, NotFound, Unavailable
from cargohold.types.digest import Algorithm, Digest
from cargohold.types.names import RepositoryName, Tag, UploadId
from tests.crash.recording import Asked, Told
from tests.storage.contract.base import Sample, append, commit, read, sample, size

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from cargohold.storage.protocols import Store
    from tests.crash.recording import Event, Recorder

CLIENTS, STORES, REQUESTS = 4, 2, 12
SEVERAL = 4
SHARED = RepositoryName("shared")
POOL = [bytes([number]) * 3_000 for number in range(4)]
"""Contents that every client pushes to repositories of its own."""


class Key(NamedTuple):
    """A `blob`, `manifest` or `tag` of a repository."""

    repository: RepositoryName
    kind: str
    name: str


class Session(NamedTuple):
    """An upload session, and what is sent to it."""

    repository: RepositoryName
    upload: UploadId
    content: bytes


class Client:
    """Changes one thing after the other, in repositories of its own and in one that it shares with the others."""

    def __init__(self, number: int, store: Store, recorder: Recorder, seed: int) -> None:
        self._number = number
        self._store = store
        self._recorder = recorder
        self._dice = random.Random(f"{seed} {number}")
        self._own = RepositoryName(f"own/{number}")
        self._state: dict[Key, Digest | None] = {}
        self._samples: list[Sample] = []
        self.sessions: list[Session] = []

    async def run(self) -> None:
        steps = (
            self._push_blob,
            self._push_blob,
            self._push_manifest,
            self._push_manifest,
            self._push_several,
            self._move_tag,
            self._mount,
            self._delete_blob,
            self._delete_manifest,
            self._delete_tag,
        )
        for _ in range(REQUESTS):
            await self._dice.choice(steps)()

    @asynccontextmanager
    async def _change(self, *changes: tuple[Key, Digest | None]) -> AsyncIterator[None]:
        """Ask, do, and be told; not told where the disk fails."""
        self._recorder.note(Asked(dict(changes)))
        with suppress(Unavailable):
            yield
            self._recorder.note(Told(dict(changes)))
            self._state |= dict(changes)

    def _some(self, kind: str) -> Key | None:
        keys = [key for key, value in self._state.items() if key.kind == kind and value is not None]
        return self._dice.choice(keys) if keys else None

    async def _push_blob(self) -> None:
        """In two pieces; where the end of a session fails, it is asked for again."""
        where = self._dice.choice((SHARED, self._own))
        content = self._dice.randbytes(2_000) if where == SHARED else self._dice.choice(POOL)
        digest = Digest.of(content)
        async with self._change((Key(where, "blob", digest), digest)):
            upload = await self._store.create_upload(where, Algorithm.SHA256)
            self.sessions.append(Session(where, upload, content))
            middle = self._dice.randrange(len(content))
            for piece in (content[:middle], content[middle:]):
                await append(self._store, where, upload, piece)
            try:
                await self._store.commit_upload(where, upload, digest, len(content))
            except Unavailable:
                with suppress(NotFound):
                    await self._store.commit_upload(where, upload, digest, len(content))
                    return
                raise

    async def _push_manifest(self) -> None:
        where = self._dice.choice((SHARED, self._own))
        await self._commit(where, self._sample(), self._tags())

    async def _push_several(self) -> None:
        """At once into one repository, so that those are stored together that come while the first is."""
        where = self._dice.choice((SHARED, self._own))
        pushed = [(self._sample(), Tag(f"{self._number}-{number}")) for number in range(SEVERAL)]
        await asyncio.gather(*(self._commit(where, of, [tag]) for of, tag in pushed))

    def _sample(self) -> Sample:
        subject = self._dice.choice(self._samples).digest if self._samples else None
        made = sample(f"{self._number} {len(self._samples)}", subject)
        self._samples.append(made)
        return made

    def _tags(self) -> list[Tag]:
        return [Tag(f"{self._number}-{number}") for number in range(self._dice.randrange(3))]

    async def _move_tag(self) -> None:
        """To a manifest that may be there already."""
        if self._samples:
            await self._commit(self._own, self._dice.choice(self._samples), self._tags())

    async def _commit(self, where: RepositoryName, of: Sample, tags: Sequence[Tag]) -> None:
        keys = [Key(where, "manifest", of.digest), *(Key(where, "tag", tag) for tag in tags)]
        async with self._change(*((key, of.digest) for key in keys)):
            await commit(self._store, where, of, *tags)

    async def _mount(self) -> None:
        key = self._some("blob")
        if key is not None:
            digest = Digest(key.name)
            async with self._change((Key(RepositoryName(f"{self._own}/mounted"), "blob", digest), digest)):
                await self._store.mount_blob(digest, key.repository, RepositoryName(f"{self._own}/mounted"))

    async def _delete_blob(self) -> None:
        key = self._some("blob")
        if key is not None:
            async with self._change((key, None)):
                await self._store.delete_blob(key.repository, Digest(key.name))

    async def _delete_manifest(self) -> None:
        key = self._some("manifest")
        if key is not None:
            tags = [
                each
                for each, digest in self._state.items()
                if digest == key.name and each.kind == "tag" and each.repository == key.repository
            ]
            async with self._change(*((each, None) for each in (key, *tags))):
                await self._store.delete_manifest(key.repository, Digest(key.name))

    async def _delete_tag(self) -> None:
        key = self._some("tag")
        if key is not None:
            async with self._change((key, None)):
                await self._store.delete_tag(key.repository, Tag(key.name))


@dataclass
class Known:
    """What clients know: what they were told, and what they asked for without having been told yet."""

    told: dict[Key, Digest | None]
    asked: dict[Key, set[Digest | None]]

    @classmethod
    def after(cls, events: Sequence[Event]) -> Known:
        known = cls({}, {})
        for event in events:
            if isinstance(event, Asked):
                for key, value in event.changes.items():
                    known.asked.setdefault(key, set()).add(value)
            elif isinstance(event, Told):
                known.told |= event.changes
                for key in event.changes:
                    del known.asked[key]
        return known

    def allowed(self, key: Key) -> set[Digest | None]:
        """What may be found."""
        return {self.told.get(key)} | self.asked.get(key, set())

    @property
    def deleted(self) -> list[Key]:
        """The manifests that are surely deleted."""
        return [
            key
            for key, value in self.told.items()
            if key.kind == "manifest" and value is None and key not in self.asked
        ]

    @property
    def keys(self) -> set[Key]:
        return {*self.told, *self.asked}


async def work(root: str, recorder: Recorder, seed: int) -> list[Session]:
    """Let several clients work at once, on stores such as several processes have; all sessions that there were."""
    stores = [FilesystemStore(root) for _ in range(STORES)]
    stores[0].prepare()
    clients = [Client(number, stores[number % STORES], recorder, seed) for number in range(CLIENTS)]
    await asyncio.gather(*(client.run() for client in clients))
    for store in stores:
        store.close()
    return [session for client in clients for session in client.sessions]


async def resume(store: Store, session: Session) -> None:
    """Go on with a session that has lost some of its bytes, or only seems to have others: it ends as a blob or not."""
    held = await size(store, session.repository, session.upload)
    if held is None:
        return
    assert held <= len(session.content), "a session holds what was not sent to it"
    await append(store, session.repository, session.upload, session.content[held:])
    digest = Digest.of(session.content)
    try:
        await store.commit_upload(session.repository, session.upload, digest, len(session.content))
    except DigestMismatch:
        assert await size(store, session.repository, session.upload) is None
    else:
        assert await found(store, Key(session.repository, "blob", digest)) == digest


async def found(store: Store, key: Key) -> Digest | None:
    """What there is under a key, whose bytes are what its digest says."""
    try:
        if key.kind == "tag":
            return await store.resolve_tag(key.repository, Tag(key.name))
        digest = Digest(key.name)
        if key.kind == "manifest":
            content = await store.read_manifest(key.repository, digest)
        else:
            content = read(await store.find_blob(key.repository, digest))
    except NotFound:
        return None
    except Unavailable as damaged:
        raise AssertionError(key) from damaged
    assert Digest.of(content) == digest, key
    return digest


async def is_in_trash(store: Store, key: Key) -> bool:
    """Whether it is written down that a manifest was deleted, and its content is there to restore it."""
    records = (await store.read_trash(key.repository)).records
    content = await store.read_deleted(key.repository, Digest(key.name))
    return Digest.of(content) == key.name and any(record.digest == key.name for record in records)
