"""A store that keeps everything in this process's memory, for tests of what stands above a store.

For one event loop, and without threads: no call awaits anything, so each is a step that none sees half done.
Nothing outlives the process; in all else the contract of `protocols` holds.
"""

from __future__ import annotations

import sys
import time
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from cargohold.storage.protocols import (
    Conflict,
    ContentBytes,
    DigestMismatch,
    Incomplete,
    NotFound,
    OverQuota,
    TagFixed,
    Totals,
)
from cargohold.storage.trash import DELETED, TAG_DELETED, Trashed, ended_name, new_record, parse_record
from cargohold.types.digest import Digest
from cargohold.types.names import UploadId
from cargohold.types.oci import descriptor_artifact_type
from cargohold.types.quotas import Quotas, QuotaUse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence

    from cargohold.storage.protocols import Content, View
    from cargohold.storage.trash import Cause, Record
    from cargohold.types.digest import Algorithm
    from cargohold.types.names import RepositoryName, Tag
    from cargohold.types.oci import Manifest
    from cargohold.types.quotas import Quota


class MemoryStore:
    """A `protocols.Store` in memory."""

    def __init__(self, quotas: Quotas | None = None) -> None:
        self._quotas = quotas or Quotas()
        self._contents: dict[Digest, bytes] = {}
        self._repositories: dict[RepositoryName, _Repository] = {}
        self._sessions: dict[tuple[RepositoryName, UploadId], _Session] = {}

    async def try_reading(self) -> None:
        """See `Trial`."""

    async def try_writing(self) -> None:
        """See `Trial`."""

    async def find_blob(self, repository: RepositoryName, digest: Digest) -> Content:
        """See `BlobStore`."""
        if digest not in self._repository(repository).blobs:
            raise NotFound
        return ContentBytes(self._contents[digest])

    async def lease_blob(self, repository: RepositoryName, digest: Digest) -> Content:
        """See `BlobStore`: nothing is ever collected here."""
        return await self.find_blob(repository, digest)

    async def missing_blobs(self, repository: RepositoryName, digests: Sequence[Digest]) -> list[Digest]:
        """See `BlobStore`."""
        held = self._repository(repository).blobs
        return [digest for digest in digests if digest not in held]

    async def mount_blob(
        self,
        digest: Digest,
        source: RepositoryName | None,
        target: RepositoryName,
        visible: View | None = None,
    ) -> None:
        """See `BlobStore`."""
        seen = (
            [source] if source else [name for name in self._repositories if visible is None or visible(name)]
        )
        if not any(digest in self._repository(name).blobs for name in seen):
            raise NotFound
        if digest not in self._repository(target).blobs:
            self._require_room(target, len(self._contents[digest]))
        self._made(target).blobs.add(digest)

    async def delete_blob(self, repository: RepositoryName, digest: Digest) -> None:
        """See `BlobStore`."""
        held = self._repository(repository).blobs
        if digest not in held:
            raise NotFound
        held.remove(digest)

    async def create_upload(self, repository: RepositoryName, algorithm: Algorithm) -> UploadId:  # noqa: ARG002 - bytes at hand are hashed once, at the end
        """See `UploadStore`."""
        self._require_room(repository, 1)
        upload = UploadId.new()
        self._sessions[repository, upload] = _Session()
        return upload

    async def upload_size(self, repository: RepositoryName, upload: UploadId) -> int:
        """See `UploadStore`."""
        return len(self._session(repository, upload).data)

    @asynccontextmanager
    async def append_upload(
        self, repository: RepositoryName, upload: UploadId, offset: int | None, length: int = 0, **_: object
    ) -> AsyncIterator[_Writer]:
        """See `UploadStore`. There is nothing to save, so it does not matter which is the last writer."""
        session = self._session(repository, upload)
        if offset is not None and offset != len(session.data):
            raise Conflict
        self._require_room(repository, length)
        yield _Writer(session, partial(self._require_room, repository))

    async def commit_upload(
        self, repository: RepositoryName, upload: UploadId, digest: Digest, size: int, **_: object
    ) -> None:
        """See `UploadStore`. Bytes at hand are hashed here, once."""
        session = self._session(repository, upload)
        if len(session.data) != size:
            raise Conflict
        self._end(repository, upload)
        content = bytes(session.data)
        if not Digest.of(content, digest.algorithm).equals(digest):
            raise DigestMismatch
        self._contents[digest] = content
        self._made(repository).blobs.add(digest)

    async def cancel_upload(self, repository: RepositoryName, upload: UploadId) -> None:
        """See `UploadStore`."""
        self._session(repository, upload)
        self._end(repository, upload)

    async def expire_uploads(self, idle: float) -> int:
        """See `UploadStore`."""
        now = time.monotonic()
        expired = [place for place, session in self._sessions.items() if now - session.grown >= idle]
        for place in expired:
            self._end(*place)
        return len(expired)

    async def resolve_tag(self, repository: RepositoryName, tag: Tag) -> Digest:
        """See `MetadataStore`."""
        try:
            return self._repository(repository).tags[tag]
        except KeyError:
            raise NotFound from None

    async def read_manifest(self, repository: RepositoryName, digest: Digest) -> bytes:
        """See `MetadataStore`."""
        try:
            return self._repository(repository).manifests[digest].content
        except KeyError:
            raise NotFound from None

    async def lease_manifest(
        self, repository: RepositoryName, digest: Digest, _patience: float | None = None
    ) -> None:
        """See `MetadataStore`: nothing is ever collected here."""
        await self.read_manifest(repository, digest)

    async def missing_manifests(self, repository: RepositoryName, digests: Sequence[Digest]) -> list[Digest]:
        """See `MetadataStore`."""
        held = self._repository(repository).manifests
        return [digest for digest in digests if digest not in held]

    async def commit_manifest(  # noqa: PLR0913 - as the protocol has it
        self,
        repository: RepositoryName,
        digest: Digest,
        manifest: Manifest,
        tags: Sequence[Tag],
        *,
        complete: bool = False,
        fixed: Callable[[Tag], bool] | None = None,
    ) -> None:
        """See `MetadataStore`."""
        found = self._repository(repository)
        missing = [each for each in manifest.blobs if each not in found.blobs]
        missing += [each for each in manifest.manifests if each not in {*found.manifests, *found.blobs}]
        if complete and missing:
            raise Incomplete(missing)
        for tag in filter(fixed, tags) if fixed else ():
            if found.tags.get(tag, digest) != digest:
                raise TagFixed(tag, found.tags[tag])
        if digest not in found.manifests:
            self._require_room(repository, len(manifest.content))
        self._contents[digest] = manifest.content
        target = self._made(repository)
        target.manifests[digest] = manifest
        target.tags.update(dict.fromkeys(tags, digest))

    async def delete_manifest(
        self, repository: RepositoryName, digest: Digest, cause: Cause = DELETED
    ) -> list[Tag]:
        """See `MetadataStore`."""
        holder = self._repository(repository)
        if digest not in holder.manifests:
            raise NotFound
        tags = sorted(tag for tag, target in holder.tags.items() if target == digest)
        content = self._contents[digest]
        holder.trash.append(new_record(digest, tags, cause, whole=True, content=content))
        del holder.manifests[digest]
        for tag in tags:
            del holder.tags[tag]
        return tags

    async def delete_tag(self, repository: RepositoryName, tag: Tag, cause: Cause = TAG_DELETED) -> None:
        """See `MetadataStore`."""
        holder = self._repository(repository)
        if tag not in holder.tags:
            raise NotFound
        digest = holder.tags.pop(tag)
        content = self._contents[digest]
        holder.trash.append(new_record(digest, [tag], cause, whole=False, content=content))

    async def trashed_repositories(self) -> list[RepositoryName]:
        """See `TrashStore`."""
        return sorted(name for name, each in self._repositories.items() if each.trash)

    async def read_trash(self, repository: RepositoryName) -> Trashed:
        """See `TrashStore`."""
        return Trashed([*self._repository(repository).trash], {})

    async def read_deleted(self, repository: RepositoryName, digest: Digest) -> bytes:
        """See `TrashStore`."""
        holder = self._repository(repository)
        if digest not in holder.manifests and all(record.digest != digest for record in holder.trash):
            raise NotFound
        return self._contents[digest]

    async def drop_records(self, repository: RepositoryName, names: Iterable[str]) -> None:
        """See `TrashStore`."""
        holder, dropped = self._repository(repository), {*names}
        holder.trash = [record for record in holder.trash if record.name not in dropped]

    async def end_records(self, repository: RepositoryName, before: float) -> int:
        """See `TrashStore`."""
        done, trash = 0, self._repository(repository).trash
        for place, record in enumerate(trash):
            if record.when < before and not record.ended:
                trash[place] = parse_record(ended_name(record.name), record.encode())
                done += 1
        return done

    async def list_tags(self, repository: RepositoryName, after: str, limit: int) -> list[str]:
        """See `MetadataStore`."""
        holder = self._repository(repository)
        if not holder.manifests:
            raise NotFound
        return sorted(str(tag) for tag in holder.tags if tag > after)[:limit]

    async def list_repositories(
        self, after: str, limit: int, visible: View | None = None
    ) -> list[RepositoryName]:
        """See `MetadataStore`."""
        held = (name for name, each in self._repositories.items() if each.manifests and name > after)
        return sorted(name for name in held if visible is None or visible(name))[:limit]

    async def list_referrers(
        self,
        repository: RepositoryName,
        subject: Digest,
        *,
        after: str = "",
        artifact_type: str | None = None,
        room: int = sys.maxsize,
    ) -> list[bytes]:
        """See `MetadataStore`."""
        found: list[bytes] = []
        for digest, manifest in sorted(
            self._repository(repository).manifests.items(), key=lambda item: item[0]
        ):
            referrer = manifest.referrer(digest)
            if room < 0 and len(found) > 1:
                break
            if digest <= after or referrer is None or referrer.subject != subject:
                continue
            if artifact_type in (None, descriptor_artifact_type(referrer.descriptor)):
                found.append(referrer.descriptor)
                room -= len(referrer.descriptor)
        return found

    async def totals(self) -> Totals:
        """See `Inventory`: what is in memory is counted when it is asked for."""
        return Totals(
            sum(map(len, self._contents.values())),
            len(self._sessions),
            sum(bool(each.manifests) for each in self._repositories.values()),
            time.time(),
        )

    async def recount(self, age: float) -> bool:  # noqa: ARG002 - it is always right
        """See `Inventory`."""
        return False

    async def room(self) -> None:
        """See `Inventory`."""

    async def runs(self) -> None:
        """See `Inventory`."""

    async def quota_use(self) -> list[QuotaUse]:
        """See `Inventory`: what is in memory is counted when it is asked for."""
        found = []
        for quota in self._quotas.effective():
            sizes = map(self._held_by, self._under(quota))
            found.append(QuotaUse(quota, max(sizes, default=0) if quota.each else sum(sizes)))
        return found

    def _under(self, quota: Quota) -> list[RepositoryName]:
        names = {*self._repositories, *(name for name, _ in self._sessions)}
        return [name for name in names if quota in self._quotas.of(name)]

    def _require_room(self, repository: RepositoryName, more: int) -> None:
        for quota in self._quotas.of(repository) if more else ():
            used = sum(map(self._held_by, [repository] if quota.each else self._under(quota)))
            if used + more > quota.bytes:
                raise OverQuota(quota, repository if quota.each else None, used, more)

    def _held_by(self, name: RepositoryName) -> int:
        held = self._repository(name)
        sessions = (len(session.data) for (of, _), session in self._sessions.items() if of == name)
        manifests = (len(manifest.content) for manifest in held.manifests.values())
        return sum(sessions) + sum(manifests) + sum(len(self._contents[digest]) for digest in held.blobs)

    def _repository(self, name: RepositoryName) -> _Repository:
        """The repository to look at: an empty one where there is none, which is not kept."""
        return self._repositories.get(name) or _Repository()

    def _made(self, name: RepositoryName) -> _Repository:
        """The repository to put something into."""
        return self._repositories.setdefault(name, _Repository())

    def _session(self, repository: RepositoryName, upload: UploadId) -> _Session:
        try:
            return self._sessions[repository, upload]
        except KeyError:
            raise NotFound from None

    def _end(self, repository: RepositoryName, upload: UploadId) -> None:
        self._sessions.pop((repository, upload)).ended = True


class _Repository:
    __slots__ = ("blobs", "manifests", "tags", "trash")

    def __init__(self) -> None:
        self.blobs: set[Digest] = set()
        self.manifests: dict[Digest, Manifest] = {}
        self.tags: dict[Tag, Digest] = {}
        self.trash: list[Record] = []


class _Session:
    __slots__ = ("data", "ended", "grown")

    def __init__(self) -> None:
        self.data = bytearray()
        self.ended = False
        self.grown = time.monotonic()

    def grow(self, piece: bytes | memoryview) -> None:
        if piece:
            self.data += piece
            self.grown = time.monotonic()


class _Writer:
    """See `UploadWriter`. Holds nothing back, so that leaving it has nothing to put down."""

    __slots__ = ("_offset", "_refusal", "_require_room", "_session")

    def __init__(self, session: _Session, require_room: Callable[[int], None]) -> None:
        self._session = session
        self._require_room = require_room
        self._refusal: OverQuota | None = None
        self._offset = len(session.data)

    @property
    def offset(self) -> int:
        return self._offset

    async def write(self, piece: bytes | memoryview) -> None:
        if self._refusal is not None:
            raise self._refusal
        if self._session.ended or len(self._session.data) != self._offset:
            raise Conflict
        try:
            self._require_room(len(piece))
        except OverQuota as over:
            self._refusal = over
            raise
        self._session.grow(piece)
        self._offset += len(piece)
