"""The head of an answer (RFC 9112, 4 and 5), from the values of a route to bytes."""

from __future__ import annotations

from functools import lru_cache
from http import HTTPStatus
from time import gmtime, time_ns
from typing import TYPE_CHECKING, Final

from cargohold.messages import REQUEST_ID_HEADER, Bytes, File
from cargohold.types.recurring import Recurring

if TYPE_CHECKING:
    from cargohold.messages import Answer

    # The headers, the length that is told where they do not say it, and whether the connection ends.
    _Key = tuple[tuple[tuple[str, str], ...], int | None, bool]

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_NO_CONTENT: Final = (204, 304)
_PRINTABLE: Final = bytes(range(0x20, 0x7F))
_LENGTH: Final = "content-length: "
_NEXT_LENGTH: Final = f"\n{_LENGTH}"
_UNKNOWN: Final = -1
_SECOND: Final = 1_000_000_000  # in nanoseconds
_LONGEST_REMEMBERED: Final = 1024
_MOST_REMEMBERED: Final = 1024
_remembered: Final[dict[_Key, str]] = {}
"""What headers that recur look like, without the id of the request: 3 MiB at most."""
_recurring: Final = Recurring()


def encode(answer: Answer, request_id: str, *, to_head: bool, last: bool) -> bytes:
    """The head: its status, the request's id, the answer's headers, and those that the protocol asks for.

    `request_id` is plain words, or empty; `to_head` says that a HEAD is answered; `last` that the connection ends. A
    header that would be another one, or is no header, is left out.
    """
    length = len(answer.body) if type(answer) is Bytes else _length(answer, to_head=to_head)
    key = tuple(answer.headers), length, last
    others = _remembered.get(key) or _remember(key)
    start = _start(answer.status, time_ns() // _SECOND)
    own = f"{REQUEST_ID_HEADER}: {request_id}\r\n" if request_id else ""
    return f"{start}{own}{others}\r\n".encode("latin-1")


def refusal(status: int) -> bytes:
    """The whole of an answer to what was no request; the connection ends with it."""
    return f"{_start(status, time_ns() // _SECOND)}content-length: 0\r\nconnection: close\r\n\r\n".encode()


def _length(answer: Answer, *, to_head: bool) -> int | None:
    """Of other answers than Bytes: the length to be told of where the headers do not; None where it need not be."""
    if type(answer) is File:
        return _UNKNOWN
    return None if to_head or answer.status in _NO_CONTENT else 0


def _remember(key: _Key) -> str:
    """The lines of these headers, which other answers are likely to have too."""
    written = _written(*key)
    if len(written) <= _LONGEST_REMEMBERED and _recurring.has(key):
        if len(_remembered) >= _MOST_REMEMBERED:
            _remembered.clear()
        _remembered[key] = written
    return written


def _written(headers: tuple[tuple[str, str], ...], length: int | None, last: bool) -> str:
    pieces: list[str] = []
    for name, value in headers:  # a digest, a string of its own type, takes an f-string long to format
        pieces += name, ": ", value, "\r\n"
    written = "".join(pieces)
    if not written.isascii() or written.encode().translate(None, _PRINTABLE) != b"\r\n" * len(headers):
        lines = [f"{name}: {value}\r\n" for name, value in headers]
        written = "".join(line for line in lines if _is_one(line))
    if length is not None and not (written.startswith(_LENGTH) or _NEXT_LENGTH in written):
        if length == _UNKNOWN:
            raise TypeError("the answer of a file must tell its length")
        written += f"{_LENGTH}{length}\r\n"
    if last and ("connection", "close") not in headers:
        written += "connection: close\r\n"
    return written


def _is_one(line: str) -> bool:
    """Whether a line is one to its end, of characters that a header may have (RFC 9110, 5.5)."""
    return all(
        (" " <= character <= "\xff" and character != "\x7f") or character == "\t" for character in line[:-2]
    )


@lru_cache(256)
def _start(status: int, second: int) -> str:
    """The lines of the status and of the date (RFC 9110, 6.6.1), the same for a second."""
    at = gmtime(second)
    date = (
        f"{_DAYS[at.tm_wday]}, {at.tm_mday:02} {_MONTHS[at.tm_mon - 1]} {at.tm_year}"
        f" {at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02} GMT"
    )
    return f"HTTP/1.1 {status} {_reason(status)}\r\ndate: {date}\r\n"


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
