"""The head of an answer (RFC 9112, 4 and 5), from the values of a route to bytes."""

from __future__ import annotations

import time
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from cargohold.messages import REQUEST_ID_HEADER, Bytes, File

if TYPE_CHECKING:
    from cargohold.messages import Answer

    # The headers, the length that is told where they do not say it, and whether the connection ends.
    _Key = tuple[tuple[tuple[str, str], ...], int | None, bool]

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_NO_CONTENT: Final = (204, 304)
_PRINTABLE: Final = bytes(range(0x20, 0x7F))
_UNKNOWN: Final = -1
_LONGEST_REMEMBERED: Final = 1024
_MOST_REMEMBERED: Final = 1024
_remembered: Final[dict[_Key, str]] = {}
"""What the headers of the last answers look like, without the id of the request: 3 MiB at most."""


def encode(answer: Answer, *, to_head: bool, last: bool) -> bytes:
    """The head: its status, the answer's headers, and those that the protocol asks for.

    `to_head` says that a HEAD is answered; `last` that the connection ends. A header that would be another one,
    or is no header, is left out.
    """
    headers, own = answer.headers, ""
    if headers and headers[0][0] == REQUEST_ID_HEADER:
        (name, request_id), *headers = headers
        own = f"{name}: {request_id}\r\n" if request_id.isprintable() and request_id.isascii() else ""
    key = tuple(headers), _length(answer, to_head=to_head), last
    others = _remembered.get(key)
    if others is None:
        others = _remember(key)
    return f"{_start(answer.status, int(time.time()))}\r\n{own}{others}\r\n".encode("latin-1")


def refusal(status: int) -> bytes:
    """The whole of an answer to what was no request; the connection ends with it."""
    return f"{_start(status, int(time.time()))}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode()


def _length(answer: Answer, *, to_head: bool) -> int | None:
    """The length to be told of where it is not among the headers; None where it need not be."""
    if type(answer) is Bytes:
        return len(answer.body)
    if type(answer) is File:
        return _UNKNOWN
    return None if to_head or answer.status in _NO_CONTENT else 0


def _remember(key: _Key) -> str:
    """The lines of these headers, which other answers are likely to have too."""
    lines = _lines(*key)
    written = "\r\n".join((*lines, ""))
    if not written.isascii() or written.encode().translate(None, _PRINTABLE) != b"\r\n" * len(lines):
        return "".join(f"{line}\r\n" for line in lines if _is_one(line))
    if len(written) <= _LONGEST_REMEMBERED:
        if len(_remembered) >= _MOST_REMEMBERED:
            _remembered.clear()
        _remembered[key] = written
    return written


def _lines(headers: tuple[tuple[str, str], ...], length: int | None, last: bool) -> list[str]:
    lines = [f"{name}: {value}" for name, value in headers]
    if length is not None and "content-length" not in [name for name, _ in headers]:
        if length == _UNKNOWN:
            raise TypeError("the answer of a file must tell its length")
        lines.append(f"content-length: {length}")
    if last and ("connection", "close") not in headers:
        lines.append("connection: close")
    return lines


def _is_one(line: str) -> bool:
    """Whether a line is one, of characters that a header may have (RFC 9110, 5.5)."""
    return all(
        (" " <= character <= "\xff" and character != "\x7f") or character == "\t" for character in line
    )


@lru_cache(256)
def _start(status: int, second: int) -> str:
    """The status line and the date (RFC 9110, 6.6.1), the same for a second."""
    at = time.gmtime(second)
    date = (
        f"{_DAYS[at.tm_wday]}, {at.tm_mday:02} {_MONTHS[at.tm_mon - 1]} {at.tm_year}"
        f" {at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02} GMT"
    )
    return f"HTTP/1.1 {status} {_reason(status)}\r\ndate: {date}"


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
