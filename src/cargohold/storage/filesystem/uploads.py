"""Upload sessions: a file that grows at its end under its own lock, until it is renamed into the blobs."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from cargohold.storage.change import Change
from cargohold.storage.durable import write_unsynced
from cargohold.storage.filesystem.blobs import FileBlobs, Link
from cargohold.storage.filesystem.hashing import hash_from, load_hasher, save_hasher
from cargohold.storage.filesystem.session import FileSession
from cargohold.storage.filesystem.tree import exists, size_of, told
from cargohold.storage.filesystem.usage import UncountedError
from cargohold.storage.filesystem.writer import SMALL, FileUploadWriter, Memory
from cargohold.storage.locks import Busy
from cargohold.storage.protocols import Conflict, DigestMismatch, NotFound, StoreError, Unavailable
from cargohold.storage.totals import Sums, repository_shard
from cargohold.types.digest import Algorithm, Digest, Hasher
from cargohold.types.names import UploadId

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from cargohold.storage.filesystem.leases import Terms
    from cargohold.storage.protocols import UploadWriter
    from cargohold.types.names import RepositoryName

_RETRIES = 8


class _Blob(NamedTuple):
    """What a session shall become."""

    repository: RepositoryName
    digest: Digest
    size: int


class FileUploads(FileBlobs):
    """The part of the store that is an `UploadStore`, apart from what ends idle sessions (`FileExpiry`)."""

    def __init__(self, root: str, terms: Terms | None = None) -> None:
        super().__init__(root, terms)
        self._memory = Memory()

    async def create_upload(self, repository: RepositoryName, algorithm: Algorithm) -> UploadId:
        await self.require_room(repository, 0)
        return await self.in_metadata(self._create_upload, repository, algorithm)

    def _create_upload(self, repository: RepositoryName, algorithm: Algorithm) -> UploadId:
        """Made where it stays, since nobody knows its name yet. It need not survive a power cut."""
        upload = UploadId.new()
        folder = self.layout.upload(repository, upload)
        self.disk.make_folders(folder)
        started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        try:
            for name, content in (("startedat", started.encode()), ("data", b"")):
                write_unsynced(f"{folder}/{name}", content)
            if algorithm is not Algorithm.SHA256:
                save_hasher(self.layout.hashing(repository, upload), Hasher(algorithm))
        except OSError:
            self.disk.removals.now(folder)
            raise
        self.noted.add(repository_shard(repository), Sums(uploads=1))
        return upload

    async def upload_size(self, repository: RepositoryName, upload: UploadId) -> int:
        return await self.in_metadata(FileSession(self.layout, self.noted, repository, upload).size)

    @asynccontextmanager
    async def append_upload(
        self,
        repository: RepositoryName,
        upload: UploadId,
        offset: int | None,
        length: int = 0,
        *,
        last: bool = False,
    ) -> AsyncIterator[FileUploadWriter]:
        session = FileSession(self.layout, self.noted, repository, upload)
        writer = FileUploadWriter(self, repository, session, self._memory)
        is_whole = False
        try:
            with told():
                writer.open(offset)
            if length:
                await self.require_room(repository, length)
                writer.expect(length)
            yield writer
            is_whole = True
        finally:
            is_left = False
            try:
                await writer.finish(is_last=last and is_whole)
                is_left = writer.has_rest
            finally:
                if not is_left:
                    writer.close()

    async def commit_upload(
        self,
        repository: RepositoryName,
        upload: UploadId,
        digest: Digest,
        size: int,
        *,
        after: UploadWriter | None = None,
    ) -> None:
        """Hash and sync without the lock: the bytes below the end never change, and the end is checked under it."""
        blob = _Blob(repository, digest, size)
        writer = after if isinstance(after, FileUploadWriter) else None
        has_rest = writer is not None and writer.has_rest
        session = (
            writer.session
            if writer is not None and has_rest
            else FileSession(self.layout, self.noted, repository, upload)
        )
        try:
            is_placed = await self._check_and_make(session, blob, writer)
            for _ in range(_RETRIES):
                if is_placed:
                    return
                is_placed = await self._make_blob(session, blob)
            raise Unavailable("the blob's repository is changing too fast")
        except DigestMismatch:
            await self.patiently(self._end, session, size)
            raise
        except StoreError:
            if session.is_spoiled:
                with suppress(NotFound):
                    await self.cancel_upload(repository, upload)
            raise
        finally:
            session.close()
            if writer is not None:
                writer.close()

    async def _check_and_make(
        self, session: FileSession, blob: _Blob, writer: FileUploadWriter | None
    ) -> bool:
        """As `_make_blob`; where what the writer has left cannot be put down at once, that is waited for here."""
        check = partial(_check, session, blob, writer)
        try:
            return await self._make_blob(session, blob, check)
        except (Busy, UncountedError):
            if writer is None or not writer.has_rest:
                raise
        await writer.finish(is_last=False)
        return await self._make_blob(session, blob, check)

    async def _make_blob(
        self, session: FileSession, blob: _Blob, check: Callable[[], None] = lambda: None
    ) -> bool:
        """Whether all that was taken for granted was still there in the end; if not, nothing is done.

        All of it in one thread, unless another holds a lock: to hand it on takes longer than most of its steps. What is
        small takes no longer than a link does.
        """
        in_thread = self.in_metadata if blob.size <= SMALL else self.in_bulk
        change = Change(self.disk, self.layout.new)

        def make() -> Link | bool:
            check()
            link = self._stage_blob(change, session, blob)
            try:
                return self._place_blob(change, session, link, blob.size)
            except Busy:
                return link

        try:
            made = await in_thread(make)
            if isinstance(made, Link):
                made = await self.patiently(self._place_blob, change, session, made, blob.size)
            return made
        finally:
            if not change.is_placed:
                await self.in_metadata(change.discard)

    def _stage_blob(self, change: Change, session: FileSession, blob: _Blob) -> Link:
        target, granted = self.layout.data(blob.digest), []
        if size_of(target) == blob.size:
            change.rely_on(target)
            granted.append(target)
        elif blob.size == 0:
            # The empty file stays with the session, where a writer may have opened it at this very end.
            change.file(target, b"")
        else:
            # How long many bytes take says nothing of how long the next sync will.
            session.sync(self.disk.each if blob.size <= SMALL else None)
            change.move(session.data, target)
        link = self.link_blob(change, blob.repository, blob.digest)
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
            with session.leaving(size), self.storing({link.digest: size}):
                change.place()
                self.lease(link)
        change.settle()
        self._clear(session)
        return True

    def _clear(self, session: FileSession) -> None:
        """Behind the answer: some disks take milliseconds to remove what is left of it, and the more the longer."""
        # What had been stored already was sent in vain, and is still here.
        in_vain = size_of(f"{session.away}/data") or 0
        for path in session.left():
            self.disk.removals.later(path, in_vain if path == session.away else 0)

    def _end(self, session: FileSession, size: int) -> None:
        """Whoever cancels it may need the room: that is there with the answer."""
        with session.leaving(size):
            pass
        for path in session.left():
            self.disk.removals.now(path)

    async def cancel_upload(self, repository: RepositoryName, upload: UploadId) -> None:
        """However much the session holds; a writer that is just adding to it is waited for."""
        for _ in range(_RETRIES):
            session = FileSession(self.layout, self.noted, repository, upload)
            try:
                size = await self.in_metadata(_open, session)
                await self.patiently(self._end, session, size)
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


def _check(session: FileSession, blob: _Blob, writer: FileUploadWriter | None) -> None:
    """Raises DigestMismatch; NotFound, and Conflict, where the session is not what it was.

    Raises Busy and UncountedError too, where the writer has left something to be put down.
    """
    content = writer.put_rest() if writer is not None else None
    if content is not None:
        found = Digest.of(content, blob.digest.algorithm)
    else:
        if _open(session) != blob.size:
            raise Conflict(f"the session does not hold {blob.size} bytes")
        kept = (writer.hasher if writer is not None else None) or load_hasher(session.hashing)
        found = hash_from(session.descriptor, blob.size, blob.digest.algorithm, kept)
    if not found.equals(blob.digest):
        raise DigestMismatch(f"the session's bytes are {found}")
