"""Upload sessions: a file that grows at its end under its own lock, until it is renamed into the blobs."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

from cargohold.storage.durable import write_unsynced
from cargohold.storage.filesystem.endings import Ending, FileEndings
from cargohold.storage.filesystem.hashing import hash_from, load_hasher, save_hasher
from cargohold.storage.filesystem.session import FileSession
from cargohold.storage.filesystem.tree import told
from cargohold.storage.filesystem.usage import UncountedError
from cargohold.storage.filesystem.writer import FileUploadWriter, Memory
from cargohold.storage.locks import Busy
from cargohold.storage.protocols import Conflict, DigestMismatch, NotFound, StoreError, Unavailable
from cargohold.storage.totals import Sums, repository_shard
from cargohold.types.digest import Algorithm, Digest, Hasher
from cargohold.types.names import UploadId

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from cargohold.storage.filesystem.leases import Terms
    from cargohold.storage.protocols import UploadWriter
    from cargohold.types.names import RepositoryName

_RETRIES = 8


class FileUploads(FileEndings):
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
        try:
            self.dates.put(f"{folder}/startedat")
            write_unsynced(f"{folder}/data", b"")
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
    async def append_upload(  # noqa: PLR0913 - what is known of a body before it comes
        self,
        repository: RepositoryName,
        upload: UploadId,
        offset: int | None,
        length: int = 0,
        *,
        last: bool = False,
        known: Digest | None = None,
    ) -> AsyncIterator[FileUploadWriter]:
        session = FileSession(self.layout, self.noted, repository, upload)
        writer = FileUploadWriter(self, repository, session, self._memory)
        is_whole = False
        try:
            with told():
                writer.open(offset)
            if length:
                await self.require_room(repository, length)
                writer.expect(length, known if last else None)
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
        writer = after if isinstance(after, FileUploadWriter) else None
        has_rest = writer is not None and writer.has_rest
        session = (
            writer.session
            if writer is not None and has_rest
            else FileSession(self.layout, self.noted, repository, upload)
        )
        held = size if writer is None else size - writer.left_out
        try:
            ending = Ending(session, digest, size, held, partial(_check, session, digest, size, held, writer))
            await self._check_and_make(repository, ending, writer)
        except DigestMismatch:
            await self.patiently(self._end, session, held)
            raise
        except StoreError:
            await self._end_spoiled(session, repository, upload)
            raise
        except asyncio.CancelledError:
            with suppress(StoreError):  # nobody is left who could be told of it
                await self._end_spoiled(session, repository, upload)
            raise
        finally:
            session.close()
            if writer is not None:
                writer.close()

    async def _end_spoiled(self, session: FileSession, repository: RepositoryName, upload: UploadId) -> None:
        """So that no sync of it that succeeds is believed, after one that failed, where its end was locked then."""
        if session.is_spoiled:
            with suppress(NotFound):
                await self.cancel_upload(repository, upload)

    async def _check_and_make(
        self, repository: RepositoryName, ending: Ending, writer: FileUploadWriter | None
    ) -> None:
        """As `make_blob`; where what the writer has left cannot be put down at once, that is waited for here."""
        try:
            await self.make_blob(repository, ending)
        except (Busy, UncountedError):
            if writer is None or not writer.has_rest:
                raise
        else:
            return
        await writer.finish(is_last=False)
        await self.make_blob(repository, ending)

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


def _check(
    session: FileSession, digest: Digest, size: int, held: int, writer: FileUploadWriter | None
) -> None:
    """Raises DigestMismatch; NotFound, and Conflict, where the session is not what it was.

    Raises Busy and UncountedError too, where the writer has left something to be put down.
    """
    pieces = writer.put_rest() if writer is not None else []
    if pieces:
        found = _digest_of(pieces, digest.algorithm)
    else:
        if _open(session) != held:
            raise Conflict(f"the session does not hold {held} bytes")
        kept = (writer.hasher if writer is not None else None) or load_hasher(session.hashing)
        found = hash_from(session.descriptor, size, digest.algorithm, kept)
    if not found.equals(digest):
        raise DigestMismatch(f"the session's bytes are {found}")


def _digest_of(pieces: Sequence[bytes | memoryview], algorithm: Algorithm) -> Digest:
    if len(pieces) == 1:
        return Digest.of(pieces[0], algorithm)
    hasher = Hasher(algorithm)
    for piece in pieces:
        hasher.update(piece)
    return hasher.digest()
