"""Upload sessions: a file that grows at its end under its own lock, until it is renamed into the blobs."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cargohold.storage.durable import Change, write_unsynced
from cargohold.storage.filesystem.blobs import FileBlobs, Link
from cargohold.storage.filesystem.hashing import hash_from, load_hasher, save_hasher
from cargohold.storage.filesystem.session import FileSession
from cargohold.storage.filesystem.tree import exists, size_of
from cargohold.storage.filesystem.writer import FileUploadWriter, Memory
from cargohold.storage.protocols import Conflict, DigestMismatch, NotFound, StoreError, Unavailable
from cargohold.storage.totals import Sums, repository_shard
from cargohold.types.digest import Algorithm, Hasher
from cargohold.types.names import UploadId

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cargohold.storage.filesystem.leases import Terms
    from cargohold.types.digest import Digest
    from cargohold.types.names import RepositoryName

_RETRIES = 8


class FileUploads(FileBlobs):
    """The part of the store that is an `UploadStore`, apart from what ends idle sessions (`FileExpiry`)."""

    def __init__(self, root: str, terms: Terms | None = None) -> None:
        super().__init__(root, terms)
        self._memory = Memory()

    async def create_upload(self, repository: RepositoryName, algorithm: Algorithm) -> UploadId:
        await self.require_room(repository, 0)
        return await self.in_metadata(self._create_upload, repository, algorithm)

    def _create_upload(self, repository: RepositoryName, algorithm: Algorithm) -> UploadId:
        """Built aside and renamed in, so that no one sees half a session. It need not survive a power cut."""
        upload = UploadId.new()
        made, folder = f"{self.layout.new}/{upload}", self.layout.upload(repository, upload)
        self.disk.make_folders(made)
        started = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        for name, content in (("startedat", started.encode()), ("data", b"")):
            write_unsynced(f"{made}/{name}", content)
        if algorithm is not Algorithm.SHA256:
            save_hasher(self.layout.hashing(repository, upload), Hasher(algorithm))
        self.disk.make_folders(os.path.dirname(folder))
        self.disk.rename(made, folder)
        self.noted.add(repository_shard(repository), Sums(uploads=1))
        return upload

    async def upload_size(self, repository: RepositoryName, upload: UploadId) -> int:
        return await self.in_metadata(FileSession(self.layout, self.noted, repository, upload).size)

    @asynccontextmanager
    async def append_upload(
        self, repository: RepositoryName, upload: UploadId, offset: int | None, length: int = 0
    ) -> AsyncIterator[FileUploadWriter]:
        session = FileSession(self.layout, self.noted, repository, upload)
        writer = FileUploadWriter(self, repository, session, self._memory)
        self._memory.writers += 1
        try:
            await self.in_bulk(writer.open, offset)
            if length:
                await self.require_room(repository, length)
            yield writer
        finally:
            try:
                await writer.finish()
            finally:
                self._memory.writers -= 1
                session.close()

    async def commit_upload(
        self, repository: RepositoryName, upload: UploadId, digest: Digest, size: int
    ) -> None:
        """Hash and sync without the lock: the bytes below the end never change, and the end is checked under it."""
        session = FileSession(self.layout, self.noted, repository, upload)
        try:
            found = await self.in_bulk(_hash, session, size, digest.algorithm)
            if not found.equals(digest):
                await self.patiently(_end, session, size)
                raise DigestMismatch(f"the session's bytes are {found}")
            for _ in range(_RETRIES):
                if await self._commit(session, repository, digest, size):
                    return
            raise Unavailable("the blob's repository is changing too fast")
        except StoreError:
            if session.is_spoiled:
                with suppress(NotFound):
                    await self.cancel_upload(repository, upload)
            raise
        finally:
            session.close()

    async def _commit(
        self, session: FileSession, repository: RepositoryName, digest: Digest, size: int
    ) -> bool:
        """Whether all that was taken for granted was still there in the end; if not, nothing is done."""
        change = Change(self.disk, self.layout.new)
        try:
            link = await self.in_bulk(self._stage_blob, change, repository, digest, session, size)
            is_placed = await self.patiently(self._place_blob, change, session, link, size)
            if is_placed:
                await self.in_metadata(change.settle)
            return is_placed
        finally:
            await self.in_metadata(change.discard)

    def _stage_blob(
        self, change: Change, repository: RepositoryName, digest: Digest, session: FileSession, size: int
    ) -> Link:
        target, granted = self.layout.data(digest), []
        if size_of(target) == size:
            change.rely_on(target)
            granted.append(target)
        elif size == 0:
            # The empty file stays with the session, where a writer may have opened it at this very end.
            change.file(target, b"")
        else:
            session.sync()
            change.move(session.data, target)
        link = self.link_blob(change, repository, digest)
        link.granted.extend(granted)
        change.stage()
        return link

    def _place_blob(self, change: Change, session: FileSession, link: Link, size: int) -> bool:
        """The locks of the repository and of the content come before that of the session, here and everywhere.

        No room is taken: the bytes were counted as the session's.
        """
        with self.taking(link.repository, int), self.locks.hold(link.repository, link.digest):
            if not all(map(exists, link.granted)):
                return False
            with session.ending(size), self.storing(link.digest, size):
                change.place()
                self.lease(link)
            return True

    async def cancel_upload(self, repository: RepositoryName, upload: UploadId) -> None:
        """However much the session holds; a writer that is just adding to it is waited for."""
        for _ in range(_RETRIES):
            session = FileSession(self.layout, self.noted, repository, upload)
            try:
                size = await self.in_metadata(_open, session)
                await self.patiently(_end, session, size)
            except Conflict:
                continue
            else:
                return
            finally:
                session.close()
        raise Unavailable("the upload session is growing too fast to be ended")


def _open(session: FileSession) -> int:
    size = session.size()
    session.open()
    return size


def _hash(session: FileSession, size: int, algorithm: Algorithm) -> Digest:
    if _open(session) != size:
        raise Conflict(f"the session does not hold {size} bytes")
    return hash_from(session.descriptor, size, algorithm, load_hasher(session.hashing))


def _end(session: FileSession, size: int) -> None:
    with session.ending(size):
        pass
