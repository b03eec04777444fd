"""The head of an answer (RFC 9112, 4 and 5), from the values of a route to bytes."""

from __future__ import annotations

import time
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from cargohold.messages import Bytes, File

if TYPE_CHECKING:
    from cargohold.messages import Answer

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_NO_CONTENT: Final = (204, 304)


def encode(answer: Answer, *, to_head: bool, last: bool) -> bytes:
    """The head: its status, the answer's headers, and those that the protocol asks for.

    `to_head` says that a HEAD is answered; `last` that the connection ends. A header that would be another one,
    or is no header, is left out.
    """
    lines = [f"{name}: {value}" for name, value in answer.headers]
    length = _length(answer, to_head=to_head)
    if length is not None:
        lines.append(f"content-length: {length}")
    if last and ("connection", "close") not in answer.headers:
        lines.append("connection: close")
    content = "".join(lines)
    if not (content.isascii() and content.isprintable()):
        lines = list(filter(_is_one, lines))
    return "\r\n".join((_start(answer.status, int(time.time())), *lines, "", "")).encode("latin-1")


def refusal(status: int) -> bytes:
    """The whole of an answer to what was no request; the connection ends with it."""
    return f"{_start(status, int(time.time()))}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode()


def _length(answer: Answer, *, to_head: bool) -> int | None:
    """The length that must be told of and is not among the headers."""
    if any(name == "content-length" for name, _ in answer.headers):
        return None
    if isinstance(answer, Bytes):
        return len(answer.body)
    if isinstance(answer, File):
        raise TypeError("the answer of a file must tell its length")
    return None if to_head or answer.status in _NO_CONTENT else 0


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
