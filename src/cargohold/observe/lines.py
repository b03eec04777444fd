"""What a line of the log looks like: as JSON, or for people. Whatever a client sends, a line stays one line."""

from __future__ import annotations

import re
import time
import traceback
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from cargohold.observe.writer import PIECE_BYTES
from cargohold.types.recurring import Recurring
from cargohold.types.text import printable, printable_json

if TYPE_CHECKING:
    import logging

REQUESTS: Final = "cargohold.requests"
"""The logger of the lines that tell of requests."""

_LONGEST_REST: Final = 1024
"""Bytes: more than time, numbers, a repository and two ids take in a line."""
_LONGEST_PART: Final = 512
_PLAIN: Final = re.compile(rf"[!#-\[\]-~]{{0,{_LONGEST_PART}}}").fullmatch
"""Matches what stands in JSON, and as one word, as it is, and is not too long."""
_MOST_KNOWN: Final = 1024
"""Of paths for which the parts of a line are kept: 3 MB at most."""
_COLOURS: Final = {"DEBUG": 36, "INFO": 32, "WARNING": 33, "ERROR": 31, "CRITICAL": 31}


class RequestLine(msgspec.Struct, omit_defaults=True, gc=False):
    """What is told of a request once it has its answer; what does not apply is empty and is left out of JSON.

    `bytes` is the promised length of the answer's body, `received` what came of the request's body before the answer.
    `user` and `user_sort` are of an identity that was proved.
    """

    time: str
    level: str
    logger: str
    message: str
    request_id: str
    client: str
    method: str
    path: str
    status: int
    bytes: int
    received: int
    duration_ms: float
    query: str = ""
    repository: str = ""
    user: str = ""
    user_sort: str = ""
    user_agent: str = ""
    trace_id: str = ""


class Alike(msgspec.Struct, eq=False, gc=False):
    """What the lines of requests that are alike have in common: who asks, how, and what kind of answer there is.

    `line` is one of them, without all that a `Told` has besides, and with the method as its message. A style keeps in
    `pieces` what it has made of it, from the second use on.
    """

    line: RequestLine
    is_used: bool = False
    pieces: tuple[str, str, str, str, str] | None = None


Told = tuple[Alike, int, str, int, str, str, str, str, int, int]
"""A request: what it is like, when it was answered (nanoseconds of the epoch), its id, how many nanoseconds it took,
its trace;
the path, the query (masked), the repository; the bytes of the answer and those received.

The ids are plain words, and so is the repository.
"""


def line_of_request(told: Told) -> RequestLine:
    """The whole line."""
    alike, moment, request_id, took, trace_id, path, query, repository, size, received = told
    line = alike.line
    return msgspec.structs.replace(
        line,
        time=_timestamp(moment // 1_000_000),
        message=f"{line.method} {one_word(path)} {line.status}",
        request_id=request_id,
        path=path,
        bytes=size,
        received=received,
        duration_ms=(took + 500) // 1000 / 1000,
        query=query,
        repository=str(repository),
        trace_id=trace_id,
    )


class RecordLine(msgspec.Struct, omit_defaults=True):
    """Whatever else is told; the ids are of the request in which it was."""

    time: str
    level: str
    logger: str
    message: str
    exception: str = ""
    request_id: str = ""
    trace_id: str = ""


class Style(Protocol):
    """How lines are written: at most PIECE_BYTES in UTF-8, with the line feed."""

    def request(self, line: RequestLine) -> bytes:
        """The line of a request."""
        ...

    def told(self, told: Told) -> bytes:
        """The line of a request that may be like others before it."""
        ...

    def record(self, line: RecordLine) -> bytes:
        """The line of whatever else."""
        ...


class Json:
    """An object a line. What terminals might take for orders is written as an escape of JSON."""

    def __init__(self) -> None:
        self._encode = msgspec.json.Encoder().encode
        self._known: dict[tuple[Alike, str, str], tuple[str, str, str]] = {}
        self._recurring = Recurring()

    def request(self, line: RequestLine) -> bytes:
        """The line of a request."""
        try:
            encoded = self._encode(line)
        except UnicodeEncodeError:
            return self._careful(line)
        if len(encoded) < PIECE_BYTES and encoded.isascii() and b"\x7f" not in encoded:
            return encoded + b"\n"
        return self._careful(line)

    def told(self, told: Told) -> bytes:
        """The line of a request that may be like others before it."""
        alike, moment, request_id, took, trace_id, path, query, repository, size, received = told
        found = self._known.get((alike, path, repository)) or self._parts(alike, path, repository)
        if found is None or (query and _PLAIN(query) is None):
            return self.request(line_of_request(told))
        before, between, end = found
        if query:
            end = f',"query":"{query}"{end}'
        if trace_id:
            end = f'{end[:-2]},"trace_id":"{trace_id}"}}\n'
        time, duration = _timestamp(moment // 1_000_000), _as_milliseconds((took + 500) // 1000)
        return (
            f'{{"time":"{time}{before}{request_id}{between}{size},"received":{received},"duration_ms":{duration}{end}'
        ).encode()

    def _parts(self, alike: Alike, path: str, repository: str) -> tuple[str, str, str] | None:
        """What stands after time, id and duration; None where that needs more care."""
        pieces = alike.pieces
        if pieces is None:
            if alike.is_used:
                pieces = alike.pieces = self._pieces(alike.line)
            alike.is_used = True
        if pieces is None or _PLAIN(path) is None:
            return None
        first, second, third, fourth, end = pieces
        if repository:
            end = f',"repository":"{repository}"{end}'
        parts = f"{first}{path}{second}", f"{third}{path}{fourth}", end
        key = alike, path, repository
        if self._recurring.has(key):
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[key] = parts
        return parts

    def _pieces(self, line: RequestLine) -> tuple[str, str, str, str, str] | None:
        """What stands after time, path, id, path and duration; None where that needs more care."""
        encoded = self.request(line)
        if not encoded.isascii() or len(encoded) > PIECE_BYTES - 3 * _LONGEST_PART - _LONGEST_REST:
            return None
        # In a text within JSON a quotation mark has a backslash before it: none of these can stand there.
        first, _, rest = encoded.decode().removeprefix('{"time":"').partition('","request_id":"",')
        third, _, rest = rest.partition('"path":"",')
        fourth, _, end = rest.partition('0,"received":0,"duration_ms":0.0')
        return f"{first} ", f' {line.status}","request_id":"', f'",{third}"path":"', f'",{fourth}', end

    def record(self, line: RecordLine) -> bytes:
        """The line of whatever else; a long text lacks its middle."""
        return self._careful(line)

    def _careful(self, line: RequestLine | RecordLine) -> bytes:
        texts = {
            name: value for name, value in msgspec.structs.asdict(line).items() if isinstance(value, str)
        }
        for name, value in texts.items():
            # What stands for bytes that are no UTF-8, in names of files, has no form in UTF-8 itself.
            setattr(line, name, cut(value, PIECE_BYTES).encode("utf-8", "backslashreplace").decode())
        while len(encoded := self._escaped(line)) >= PIECE_BYTES:
            longest = max(texts, key=lambda name: len(getattr(line, name)))
            text = getattr(line, longest)
            setattr(line, longest, cut(text, len(text) * 3 // 4))
        return encoded + b"\n"

    def _escaped(self, line: RequestLine | RecordLine) -> bytes:
        return printable_json(self._encode(line).decode()).encode()


class Human:
    """Time, level and text, the level in colour where `colour` is set. What cannot be printed is escaped."""

    def __init__(self, *, colour: bool) -> None:
        self._levels = {
            name: f"\x1b[{code}m{name}\x1b[0m" if colour else name for name, code in _COLOURS.items()
        }

    def request(self, line: RequestLine) -> bytes:
        """The line of a request."""
        path = one_word(line.path)
        target = f"{path}?{line.query}" if line.query else path
        text = (
            f"{line.client or '-'} {one_word(line.user) or '-'} {line.method} {target} {line.status},"
            f" {line.bytes} bytes in {line.duration_ms:g} ms"
        )
        if line.received:
            text += f", {line.received} bytes received"
        if line.user_agent:
            text += f", {line.user_agent}"
        return self._line(line, text)

    def told(self, told: Told) -> bytes:
        """The line of a request that may be like others before it."""
        return self.request(line_of_request(told))

    def record(self, line: RecordLine) -> bytes:
        """The line of whatever else, with an exception's lines below it, indented."""
        return self._line(line, f"{line.logger}: {line.message}", line.exception)

    def _line(self, line: RequestLine | RecordLine, text: str, below: str = "") -> bytes:
        ids = "".join(f" {word}" for word in (line.request_id, line.trace_id) if word)
        level = self._levels.get(line.level, printable(line.level))
        head = f"{line.time} {level} {_fitted(printable(text), PIECE_BYTES // 2)}{ids}\n"
        below = "".join(f"    {printable(each)}\n" for each in below.splitlines())
        return (head + _fitted(below, PIECE_BYTES - len(head.encode()))).encode()


def timestamp(seconds: float) -> str:
    """A moment (of the epoch) in UTC, with milliseconds: `2024-01-02T15:04:05.678Z` (RFC 3339)."""
    return _timestamp(int(seconds * 1000))


@lru_cache(maxsize=2)  # most lines are of the millisecond of the line before
def _timestamp(milliseconds: int) -> str:
    whole, part = divmod(milliseconds, 1000)
    return time.strftime(f"%Y-%m-%dT%H:%M:%S.{part:03}Z", time.gmtime(whole))


@lru_cache(maxsize=4096)  # most requests take less than four milliseconds
def _as_milliseconds(microseconds: int) -> str:
    """A number as JSON has it."""
    return repr(microseconds / 1000)


def line_of(record: logging.LogRecord, request_id: str, trace_id: str) -> RecordLine:
    """What a record of the standard library tells, cut to what a line can hold."""
    exception = ""
    if record.exc_info and record.exc_info[0] is not None:
        exception = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
    message = record.getMessage()
    return RecordLine(
        timestamp(record.created), record.levelname, record.name, message, exception, request_id, trace_id
    )


def cut(text: str, length: int) -> str:
    """The text, without its middle where it is longer: what matters in a path or a traceback stands at its ends."""
    if len(text) <= length:
        return text
    half = (length - 1) // 2
    return f"{text[:half]}…{text[len(text) - half :]}"


def one_word(text: str) -> str:
    """The text with `%20` for blanks, so that nobody writes into a path what reads as the words behind it."""
    return text.replace(" ", "%20")


def _fitted(text: str, size: int) -> str:
    """The text, cut so that it has at most so many bytes."""
    while len(text.encode()) > size:
        text = cut(text, min(size, len(text) * 3 // 4))
    return text
