"""Uploads: start, append, finish, look, cancel, and mount in place of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cargohold.messages import Empty
from cargohold.routes.headers import only_value
from cargohold.types.errors import BlobUploadInvalid, SizeInvalid
from cargohold.types.ranges import format_upload_range, parse_content_range

if TYPE_CHECKING:
    from cargohold.messages import Answer, Headers, Request
    from cargohold.registry.blobs import Blobs
    from cargohold.registry.uploads import Uploads
    from cargohold.types.digest import Algorithm, Digest
    from cargohold.types.names import RepositoryName, UploadId
    from cargohold.types.operations import (
        AppendUpload,
        CancelUpload,
        CheckUpload,
        FinishUpload,
        MountBlob,
        StartUpload,
    )
    from cargohold.types.ranges import ChunkRange


class UploadRoutes:
    """The endpoints of upload sessions; `prefix` stands before every path."""

    def __init__(self, uploads: Uploads, blobs: Blobs, *, prefix: str) -> None:
        self._uploads = uploads
        self._blobs = blobs
        self._prefix = prefix

    async def start(self, asked: StartUpload, request: Request) -> Answer:
        """202 with the session's address; with a digest the body is the blob, and 201."""
        if asked.digest is not None:
            await self._uploads.receive(
                asked.repository,
                asked.digest,
                request.body,
                length=request.length or 0,
                sees_all=request.identity.view() is None,
            )
            return self._stored(asked.repository, asked.digest)
        return await self._started(asked.repository, asked.algorithm)

    async def mount(self, asked: MountBlob, request: Request) -> Answer:
        """201 where the blob is where the asker may pull it, and otherwise a session, 202."""
        view = request.identity.view()
        if await self._blobs.mount(asked.digest, asked.source, asked.repository, view):
            return self._stored(asked.repository, asked.digest)
        return await self._started(asked.repository, asked.digest.algorithm)

    async def check(self, asked: CheckUpload, _request: Request) -> Answer:
        """204 with how far the session has come."""
        size = await self._uploads.size(asked.repository, asked.upload)
        return self._session(204, asked.repository, asked.upload, size)

    async def append(self, asked: AppendUpload, request: Request) -> Answer:
        """202 with how far the session has come."""
        size = await self._uploads.append(
            asked.repository, asked.upload, request.body, _chunk(request), length=request.length or 0
        )
        return self._session(202, asked.repository, asked.upload, size)

    async def finish(self, asked: FinishUpload, request: Request) -> Answer:
        """201: the session has become a blob."""
        await self._uploads.finish(
            asked.repository,
            asked.upload,
            asked.digest,
            request.body,
            _chunk(request),
            length=request.length or 0,
            sees_all=request.identity.view() is None,
        )
        return self._stored(asked.repository, asked.digest)

    async def cancel(self, asked: CancelUpload, _request: Request) -> Answer:
        """204: the session is gone."""
        await self._uploads.cancel(asked.repository, asked.upload)
        return Empty(204, [])

    async def _started(self, repository: RepositoryName, algorithm: Algorithm) -> Answer:
        upload = await self._uploads.start(repository, algorithm)
        return self._session(202, repository, upload, 0)

    def _session(self, status: int, repository: RepositoryName, upload: UploadId, size: int) -> Answer:
        headers: Headers = [
            ("location", f"{self._prefix}/v2/{repository}/blobs/uploads/{upload}"),
            ("docker-upload-uuid", upload),
            ("range", format_upload_range(size)),
        ]
        if status != 204:  # noqa: PLR2004 - No Content has no length either (RFC 9110, section 8.6)
            headers.append(("content-length", "0"))
        return Empty(status, headers)

    def _stored(self, repository: RepositoryName, digest: Digest) -> Answer:
        headers: Headers = [
            ("location", f"{self._prefix}/v2/{repository}/blobs/{digest}"),
            ("docker-content-digest", digest),
            ("content-length", "0"),
        ]
        return Empty(201, headers)


def _chunk(request: Request) -> ChunkRange | None:
    """The range that a body claims. Raises SizeInvalid, before a byte is read, where its length says otherwise."""
    chunk = parse_content_range(only_value(request.headers, "content-range", BlobUploadInvalid))
    if chunk is not None and request.length is not None and request.length != chunk.stop - chunk.start:
        raise SizeInvalid(
            f"the Content-Range is of {chunk.stop - chunk.start} bytes, the Content-Length of {request.length}",
        )
    return chunk
