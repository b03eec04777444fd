"""Ranges of bytes: those that a client asks for, and those that it sends.

`Range` and `Content-Range` of a download are those of RFC 9110 (14.1.2, 14.2, 14.4). The `Content-Range` of
an upload's chunk is the specification's own (spec.md, "Pushing a blob in chunks"): no unit, both ends count.
"""

from __future__ import annotations

import re

import msgspec

from cargohold.types.errors import BlobUploadInvalid, RangeInvalid, UploadRangeInvalid
from cargohold.types.numbers import whole_number

_ONE_RANGE = re.compile(r"bytes=[ \t]*([0-9]*)-([0-9]*)[ \t]*", re.IGNORECASE)
# Beside the specified form, the ones with a unit and a total that clients of HTTP at large write.
_CHUNK = re.compile(r"(?:bytes[ =])?([0-9]{1,18})-([0-9]{1,18})(?:/(?:[0-9]{1,18}|\*))?", re.IGNORECASE)


class ByteRange(msgspec.Struct, frozen=True):
    """The bytes of a blob from `start` up to but not including `stop`: at least one, all of them there."""

    start: int
    stop: int


class ChunkRange(msgspec.Struct, frozen=True):
    """Where a chunk lies in its upload: from `start` up to but not including `stop`."""

    start: int
    stop: int


def parse_range(header: str | None, size: int) -> ByteRange | None:
    """The part of `size` bytes that a `Range` asks for; None: send the whole.

    The whole is what another unit, a malformed header, and several ranges get. Raises RangeInvalid where none
    of the bytes are there, and where the last comes before the first.
    """
    match = _ONE_RANGE.fullmatch(header.strip(" \t")) if header else None
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        start, stop = max(size - whole_number(last), 0), size
    else:
        start, stop = whole_number(first), min(whole_number(last) + 1, size) if last else size
    if start >= stop:
        raise RangeInvalid(headers=[("content-range", f"bytes */{size}")])
    return ByteRange(start, stop)


def format_content_range(r: ByteRange, size: int) -> str:
    """The `Content-Range` of a part of `size` bytes."""
    return f"bytes {r.start}-{r.stop - 1}/{size}"


def parse_content_range(header: str | None) -> ChunkRange | None:
    """Where the chunk of an upload lies; None where the client does not say.

    Raises BlobUploadInvalid for a malformed header, UploadRangeInvalid where the last byte comes before the
    first.
    """
    if header is None:
        return None
    match = _CHUNK.fullmatch(header.strip(" \t"))
    if match is None:
        raise BlobUploadInvalid(
            "Content-Range must be <first>-<last>, in bytes and both included, as in 0-1023"
        )
    first, last = int(match[1]), int(match[2])
    if last < first:
        raise UploadRangeInvalid("the last byte of Content-Range comes before the first")
    return ChunkRange(first, last + 1)


def format_upload_range(size: int) -> str:
    """The `Range` of an upload session that holds `size` bytes: `0-<last>`, `0-0` also when it is empty."""
    return f"0-{max(size - 1, 0)}"
