"""Blobs: pull and delete."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from cargohold.messages import Bytes, Empty, File
from cargohold.routes.headers import named
from cargohold.storage.protocols import ContentBytes
from cargohold.types.conditions import none_match, range_applies
from cargohold.types.ranges import format_content_range, parse_range

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cargohold.messages import Answer, Headers, Request
    from cargohold.registry.blobs import Blobs
    from cargohold.storage.protocols import Content
    from cargohold.types.digest import Digest
    from cargohold.types.operations import DeleteBlob, PullBlob
    from cargohold.types.ranges import ByteRange


_LASTING: Final = (("accept-ranges", "bytes"), ("cache-control", "max-age=31536000"))
_TYPE: Final = ("content-type", "application/octet-stream")


@lru_cache(maxsize=1024)  # of what is pulled often: a few hundred bytes each
def _described(digest: Digest, length: int) -> Sequence[tuple[str, str]]:
    """What an answer with bytes of a blob, or to a HEAD, says of them; the length is in bytes."""
    return *named(digest), *_LASTING, _TYPE, ("content-length", str(length))


class BlobRoutes:
    """The endpoints of blobs."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    async def pull(self, asked: PullBlob, request: Request) -> Answer:
        """200 or 206 with the bytes, 304 where the client has them; a HEAD gets the headers alone.

        A HEAD tells somebody who pushes that there is no need to: clients ask without the login that they push with.
        """
        find = self._blobs.check if request.method == "HEAD" else self._blobs.find
        content = await find(asked.repository, asked.digest)
        if not none_match(request.headers.get_all("if-none-match"), asked.digest):
            return Empty(304, [*named(asked.digest), *_LASTING])
        wanted = _wanted(asked.digest, request, content.size)
        if wanted is None:
            headers = [*_described(asked.digest, content.size)]
            return Empty(200, headers) if request.method == "HEAD" else _send(200, headers, content)
        headers = [*_described(asked.digest, wanted.stop - wanted.start)]
        headers.append(("content-range", format_content_range(wanted, content.size)))
        return _send(206, headers, content, wanted.start, wanted.stop)

    async def delete(self, asked: DeleteBlob, _request: Request) -> Answer:
        """202: the repository no longer holds the blob."""
        await self._blobs.delete(asked.repository, asked.digest)
        return Empty(202, [("content-length", "0")])


def _wanted(digest: Digest, request: Request, size: int) -> ByteRange | None:
    headers = request.headers
    asked = headers.get("range") if request.method == "GET" else None
    if asked is None:
        return None
    condition = headers.get("if-range")
    if condition is None and "if-range" in headers:  # not ASCII, and so not our entity tag
        return None
    return parse_range(asked, size) if range_applies(condition, digest) else None


def _send(status: int, headers: Headers, content: Content, start: int = 0, stop: int = 0) -> Answer:
    if isinstance(content, ContentBytes):
        return Bytes(status, headers, content.data[start : stop or None])
    return File(status, headers, content.path, start, stop)
