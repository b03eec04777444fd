"""Upload sessions: start, append, finish, cancel."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from cargohold.registry.quotas import within_quotas
from cargohold.storage.protocols import Conflict, DigestMismatch, NotFound
from cargohold.types.errors import BlobUploadUnknown, DigestInvalid, SizeInvalid, UploadRangeInvalid
from cargohold.types.ranges import format_upload_range

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Iterator

    from cargohold.storage.protocols import UploadStore, UploadWriter
    from cargohold.types.digest import Algorithm, Digest
    from cargohold.types.names import RepositoryName, UploadId
    from cargohold.types.ranges import ChunkRange


class Uploads:
    """The upload sessions of repositories."""

    def __init__(self, store: UploadStore) -> None:
        self._store = store

    async def start(self, repository: RepositoryName, algorithm: Algorithm) -> UploadId:
        """Start a session, whose content will most likely be named by this algorithm.

        Raises Denied where a quota leaves no room at all, as does whatever adds bytes that do not fit.
        """
        with within_quotas():
            return await self._store.create_upload(repository, algorithm)

    async def size(self, repository: RepositoryName, upload: UploadId) -> int:
        """How many bytes the session holds. Raises BlobUploadUnknown."""
        with _misses(upload):
            return await self._store.upload_size(repository, upload)

    async def append(
        self,
        repository: RepositoryName,
        upload: UploadId,
        body: AsyncIterable[bytes | memoryview],
        chunk: ChunkRange | None,
        *,
        length: int = 0,
    ) -> int:
        """Add a body at the session's end; how many bytes it holds then.

        What arrives of a body that breaks off is kept. Raises BlobUploadUnknown; UploadRangeInvalid where the chunk
        does not start at the end, or another request has written meanwhile; SizeInvalid where the body is not as long
        as the chunk says; Denied where it does not fit into a quota, before a byte is read if its `length` was
        announced, and otherwise when it is full: what has fitted is kept.
        """
        return (await self._append(repository, upload, body, chunk, length)).offset

    async def finish(  # noqa: PLR0913 - as `append`
        self,
        repository: RepositoryName,
        upload: UploadId,
        digest: Digest,
        body: AsyncIterable[bytes | memoryview],
        chunk: ChunkRange | None,
        *,
        length: int = 0,
        sees_all: bool = False,
    ) -> None:
        """Add a last body, which may be empty, and make the session a blob.

        Raises what `append` raises, and DigestInvalid where the bytes are not those of the digest: that ends the
        session. Of a body that breaks off nothing is kept where its blob is stored already, and the client `sees_all`:
        nobody else may learn whether it is.
        """
        writer = await self._append(
            repository, upload, body, chunk, length, last=True, known=digest if sees_all else None
        )
        with _misses(upload), within_quotas():
            try:
                await self._store.commit_upload(repository, upload, digest, writer.offset, after=writer)
            except DigestMismatch as mismatch:
                raise DigestInvalid(detail={"digest": digest, "reason": str(mismatch)}) from None
            except Conflict:
                size = await self._store.upload_size(repository, upload)
                raise UploadRangeInvalid(
                    "another request has written to the upload session",
                    headers=[("range", format_upload_range(size))],
                ) from None

    async def _append(  # noqa: PLR0913 - as `append`
        self,
        repository: RepositoryName,
        upload: UploadId,
        body: AsyncIterable[bytes | memoryview],
        chunk: ChunkRange | None,
        length: int,
        *,
        last: bool = False,
        known: Digest | None = None,
    ) -> UploadWriter:
        with _misses(upload), within_quotas():
            try:
                async with self._store.append_upload(
                    repository, upload, chunk.start if chunk else None, length, last=last, known=known
                ) as writer:
                    async for piece in body:
                        if chunk is not None and writer.offset + len(piece) > chunk.stop:
                            raise SizeInvalid("the body is longer than its Content-Range says")
                        await writer.write(piece)
                    if chunk is not None and writer.offset != chunk.stop:
                        raise SizeInvalid(
                            "the body is shorter than its Content-Range says; what arrived is kept"
                        )
                    return writer
            except Conflict:
                size = await self._store.upload_size(repository, upload)
                raise UploadRangeInvalid(headers=[("range", format_upload_range(size))]) from None

    async def receive(
        self,
        repository: RepositoryName,
        digest: Digest,
        body: AsyncIterable[bytes | memoryview],
        *,
        length: int = 0,
        sees_all: bool = False,
    ) -> None:
        """A blob in one go. Raises DigestInvalid; nothing is left of a body that breaks off."""
        upload = await self.start(repository, digest.algorithm)
        try:
            await self.finish(repository, upload, digest, body, None, length=length, sees_all=sees_all)
        except BaseException:
            with suppress(BlobUploadUnknown):
                await self.cancel(repository, upload)
            raise

    async def cancel(self, repository: RepositoryName, upload: UploadId) -> None:
        """End the session and drop its bytes. Raises BlobUploadUnknown."""
        with _misses(upload):
            await self._store.cancel_upload(repository, upload)


@contextmanager
def _misses(upload: UploadId) -> Iterator[None]:
    try:
        yield
    except NotFound:
        raise BlobUploadUnknown(detail={"upload": upload}) from None
