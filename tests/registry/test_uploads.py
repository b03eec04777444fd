"""Upload sessions in the face of others who write, and of bodies and stores that fail."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from cargohold.registry.blobs import Blobs
from cargohold.registry.uploads import Uploads
from cargohold.storage.memory import MemoryStore
from cargohold.storage.protocols import ContentBytes
from cargohold.types.digest import Algorithm
from cargohold.types.errors import (
    BlobUnknown,
    BlobUploadUnknown,
    DigestInvalid,
    SizeInvalid,
    UploadRangeInvalid,
)
from cargohold.types.names import RepositoryName
from cargohold.types.ranges import ChunkRange
from tests.registry.documents import ABSENT_CONTENT, digest_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from cargohold.types.digest import Digest
    from cargohold.types.names import UploadId

APP = RepositoryName("app")
CONTENT = b"0123456789"
DIGEST = digest_of(CONTENT)


class Overtaken(MemoryStore):
    """Another request always adds to a session just before its commit."""

    async def commit_upload(
        self, repository: RepositoryName, upload: UploadId, digest: Digest, size: int, **known: object
    ) -> None:
        async with self.append_upload(repository, upload, None) as writer:
            await writer.write(b"more")
        await super().commit_upload(repository, upload, digest, size, **known)


class Session:
    """The upload sessions and blobs of a store."""

    def __init__(self, store: MemoryStore | None = None) -> None:
        self.store = store or MemoryStore()
        self.uploads = Uploads(self.store)
        self.blobs = Blobs(self.store)

    async def start(self) -> UploadId:
        return await self.uploads.start(APP, Algorithm.SHA256)


async def body(*pieces: bytes | Callable[[], Awaitable[object]] | BaseException) -> AsyncIterator[bytes]:
    """Pieces of a body; between them others do something, or it ends with an error."""
    for piece in pieces:
        if isinstance(piece, bytes):
            yield piece
        elif isinstance(piece, BaseException):
            raise piece
        else:
            await piece()


def test_a_writer_that_is_overtaken_is_told() -> None:
    """Where another request has written meanwhile, the rest of a body is refused with the Range that is there now."""

    async def case() -> None:
        session = Session()
        upload = await session.start()

        async def overtake() -> None:
            await session.uploads.append(APP, upload, body(b"234"), ChunkRange(2, 5))

        with pytest.raises(UploadRangeInvalid) as raised:
            await session.uploads.append(APP, upload, body(b"01", overtake, b"xx"), None)
        assert raised.value.headers == [("range", "0-4")]
        assert await session.uploads.append(APP, upload, body(b"56789"), ChunkRange(5, 10)) == 10
        await session.uploads.finish(APP, upload, DIGEST, body(), None)
        assert await session.blobs.find(APP, DIGEST) == ContentBytes(CONTENT)

    asyncio.run(case())


def test_a_session_that_ends_under_a_writer_is_unknown() -> None:
    """A body that is still coming when the session is cancelled is refused as one to an unknown session."""

    async def case() -> None:
        session = Session()
        upload = await session.start()
        with pytest.raises(BlobUploadUnknown):
            await session.uploads.append(
                APP, upload, body(b"01", lambda: session.uploads.cancel(APP, upload), b"23"), None
            )

    asyncio.run(case())


def test_a_finish_that_is_overtaken_is_no_blob() -> None:
    """Bytes that another request adds before the commit make it a conflict: 416, and the session stays."""

    async def case() -> None:
        session = Session(Overtaken())
        upload = await session.start()
        with pytest.raises(UploadRangeInvalid):
            await session.uploads.finish(APP, upload, DIGEST, body(CONTENT), None)
        assert await session.uploads.size(APP, upload) == len(CONTENT) + 4
        with pytest.raises(BlobUnknown):
            await session.blobs.find(APP, DIGEST)

    asyncio.run(case())


@pytest.mark.parametrize("error", [SizeInvalid(), asyncio.CancelledError(), ConnectionResetError()])
def test_nothing_is_left_of_a_blob_that_breaks_off(error: BaseException) -> None:
    """A blob in one go whose body fails, in whatever way, leaves no session, and the failure goes on as it is."""

    async def case() -> None:
        session = Session()
        with pytest.raises(type(error)):
            await session.uploads.receive(APP, DIGEST, body(b"0123", error))
        assert not session.store._sessions
        with pytest.raises(BlobUnknown):
            await session.blobs.find(APP, DIGEST)

    asyncio.run(case())


def test_a_failure_is_not_hidden_by_the_cleaning_up() -> None:
    """A request that is cancelled stays cancelled, though its session is gone already."""

    async def case() -> None:
        session = Session()

        async def expire() -> None:
            assert await session.store.expire_uploads(0) == 1

        with pytest.raises(asyncio.CancelledError):
            await session.uploads.receive(APP, DIGEST, body(b"0123", expire, asyncio.CancelledError()))

    asyncio.run(case())


def test_the_digest_of_other_bytes_ends_the_session() -> None:
    """The error names the digest that was asked for; the session and its bytes are gone."""

    async def case() -> None:
        session = Session()
        upload = await session.start()
        wrong = digest_of(ABSENT_CONTENT)
        with pytest.raises(DigestInvalid) as raised:
            await session.uploads.finish(APP, upload, wrong, body(CONTENT), None)
        assert wrong in str(raised.value.entries()[0]["detail"])
        with pytest.raises(BlobUploadUnknown):
            await session.uploads.size(APP, upload)

    asyncio.run(case())


def test_two_who_finish_make_one_blob() -> None:
    """Of two who close one session the first makes the blob; for the other it is unknown."""

    async def case() -> None:
        session = Session()
        upload = await session.start()
        await session.uploads.append(APP, upload, body(CONTENT), None)
        ends = [session.uploads.finish(APP, upload, DIGEST, body(), None) for _ in range(2)]
        results = await asyncio.gather(*ends, return_exceptions=True)
        assert sorted(type(result).__name__ for result in results) == ["BlobUploadUnknown", "NoneType"]

    asyncio.run(case())
