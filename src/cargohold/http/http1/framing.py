"""Where a request's body ends (RFC 9112, 6 and 7): which of the bytes that arrive are its content. No I/O."""

from __future__ import annotations

import re
from typing import Final, Protocol

_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?")
_SHORT_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;[\t\x20-\x7e\x80-\xff]{0,1000})?\r\n")
_TRAILER: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*")
_CR: Final = 13
_LF: Final = 10
_LONGEST_LINE: Final = 4096
_LONGEST_TRAILERS: Final = 16 * 1024


Span = tuple[int, int]
"""From one place in what has come to another."""


class BadFraming(Exception):
    """What arrived is no chunk: nobody can tell where the body ends, or the next request begins."""


class Framing(Protocol):
    """Takes the bytes of a connection from the end of a head; `complete` says whether the body's last has come."""

    complete: bool

    def take(self, data: bytearray | bytes, start: int, stop: int) -> tuple[list[Span], int]:
        """Where the content is between two places, and where the body ends or goes on; raises BadFraming."""
        ...


class Sized:
    """A body of a length that was announced, in bytes."""

    __slots__ = ("_left", "complete")

    def __init__(self, length: int) -> None:
        self._left = length
        self.complete = length == 0

    def take(self, data: bytearray | bytes, start: int, stop: int) -> tuple[list[Span], int]:  # noqa: ARG002 - any are content
        """As `Framing` says."""
        end = min(stop, start + self._left)
        self._left -= end - start
        self.complete = not self._left
        return [(start, end)], end


class Chunked:
    """A body in chunks (RFC 9112, 7.1). Extensions and trailers are read and dropped."""

    __slots__ = ("_left", "_line", "_next", "_trailers", "complete")

    def __init__(self) -> None:
        self._left = 0
        self._line = b""
        self._next = self._size
        self._trailers = 0
        self.complete = False

    def take(self, data: bytearray | bytes, start: int, stop: int) -> tuple[list[Span], int]:
        """As `Framing` says."""
        spans: list[Span] = []
        at = start
        while at < stop and not self.complete:
            if not self._left:
                at = self._take_whole_chunks(data, at, stop, spans)
            if self._left:
                end = min(at + self._left, stop)
                spans.append((at, end))
                self._left -= end - at
                at = end
            elif at < stop:
                at = self._take_line(data, at, stop)
        return spans, at

    def _take_whole_chunks(self, data: bytearray | bytes, at: int, stop: int, spans: list[Span]) -> int:
        """Those from `at` on that have come to their end: there may be thousands of them, of a byte each."""
        if self._line or self._next != self._size:
            return at
        while (size := _SHORT_SIZE.match(data, at, stop)) is not None:
            start = size.end()
            end = start + int(size[1], 16)
            if end == start or end + 2 > stop or data[end] != _CR or data[end + 1] != _LF:
                break
            spans.append((start, end))
            at = end + 2
        return at

    def _take_line(self, data: bytearray | bytes, at: int, stop: int) -> int:
        end = data.find(b"\n", at, stop)
        self._line += data[at : stop if end < 0 else end + 1]
        if len(self._line) > _LONGEST_LINE:
            raise BadFraming
        if end < 0:
            return stop
        line, self._line = self._line, b""
        if not line.endswith(b"\r\n"):
            raise BadFraming
        self._next(line[:-2])
        return end + 1

    def _size(self, line: bytes) -> None:
        size = _SIZE.fullmatch(line)
        if size is None:
            raise BadFraming
        self._left = int(size[1], 16)
        self._next = self._end_of_chunk if self._left else self._trailer

    def _end_of_chunk(self, line: bytes) -> None:
        if line:
            raise BadFraming
        self._next = self._size

    def _trailer(self, line: bytes) -> None:
        self._trailers += len(line)
        if self._trailers > _LONGEST_TRAILERS or (line and _TRAILER.fullmatch(line) is None):
            raise BadFraming
        self.complete = not line
