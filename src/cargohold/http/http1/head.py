"""The head of a request (RFC 9112, 2 to 6): from its bytes to what the registry asks of it. No I/O."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import unquote_to_bytes

import httptools

from cargohold.types.addresses import host_or_nothing
from cargohold.types.numbers import whole_number
from cargohold.types.recurring import Recurring

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MAX_LINE_BYTES: Final = 64 * 1024
MAX_HEAD_BYTES: Final = 128 * 1024
MAX_HEADERS: Final = 100

_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
_BLANK: Final = b"\r\n\r\n"
_PROTOCOLS: Final = (b" HTTP/1.1", b" HTTP/1.0")
_OLD_PROTOCOL: Final = _PROTOCOLS[1]
# What the parser takes whatever lines follow, and whose parts are plain to see.
_PLAIN: Final = re.compile(
    rb"(GET|HEAD|PUT|PATCH|POST|DELETE) (/[0-9A-Za-z/._~:@!$&'()*+,;=%?-]*) HTTP/1\.1\r\n"
)
# Any method that the parser knows stands for one that it does not: the router refuses both.
_KNOWN_METHOD: Final = b"PURGE"
_REMEMBERED_BYTES: Final = 4 << 20
_LONGEST_REMEMBERED: Final = 4096
_NONE: Final[list[str]] = []
# What is remembered of a head takes more than the head: as measured, at most so much a head, a line and a byte.
_HEAD_COST: Final = 512
_LINE_COST: Final = 190
_BYTE_COST: Final = 3


class BadHead(Exception):
    """A head that is not taken; `status` is what its sender is told."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class HeadHeaders:
    """The header lines of a request, as `messages.RequestHeaders` says."""

    __slots__ = ("__weakref__", "_lines", "_readable", "_values", "get")

    def __init__(self, lines: Iterable[tuple[bytes, bytes]]) -> None:
        named: dict[str, list[str | None]] = {}
        self._values: list[str] = []
        is_readable = True
        for name, value in lines:
            readable = value.strip(b" \t").decode() if value.isascii() else None
            named.setdefault(name.decode().lower(), []).append(readable)
            if readable is None:
                is_readable = False
            else:
                self._values.append(readable)
        self._lines = named
        # Made once, since the head may be given again; and hardly ever another.
        self._readable = cast("dict[str, list[str]]", named) if is_readable else _readable(named)
        self.get: Callable[[str], str | None] = {name: values[0] for name, values in named.items()}.get
        """The first value of that name; None where there is none, or where it is not ASCII."""

    def __contains__(self, name: str) -> bool:
        return name in self._lines

    def __len__(self) -> int:
        """How many lines there are."""
        return sum(map(len, self._lines.values()))

    def count(self, name: str) -> int:
        """How many lines have that name."""
        return len(self._lines.get(name, ()))

    def get_all(self, key: str) -> list[str]:
        """The value of each line of that name, in their order."""
        return self._readable.get(key, _NONE)

    def values(self) -> list[str]:
        """The value of each line."""
        return self._values


class Head:
    """A request without its body. Values alone, so that it can be given again for the same bytes.

    `length` is that of the body in bytes, None where it comes in chunks; `keeps` whether the client may ask again on
    the connection; `expects` whether it waits for `100 Continue` before it sends the body; `width` how many characters
    the values of the headers have.
    """

    __slots__ = ("expects", "headers", "host", "keeps", "length", "method", "path", "query", "width")

    def __init__(
        self, method: str, target: bytes, headers: HeadHeaders, *, keeps: bool, expects: bool
    ) -> None:
        authority, self.path, self.query = _split(target)
        self.method = method
        self.headers = headers
        self.width = sum(map(len, headers.values()))
        self.keeps = keeps
        self.length = _announced(headers)
        self.expects = expects
        # In an address of absolute form it counts for more (RFC 9112, 3.2.2).
        self.host = host_or_nothing(authority or headers.get("host"))

    def asking(self, method: str, target: bytes) -> Head:
        """The same for another method and target; neither target is of absolute form."""
        head = object.__new__(Head)
        head.method = method
        if b"%" in target:
            _, head.path, head.query = _split(target)
        else:
            head.path, _, head.query = target.decode().partition("?")
        head.headers, head.host, head.length = self.headers, self.host, self.length
        head.keeps, head.expects, head.width = self.keeps, self.expects, self.width
        return head


class Heads:
    """Reads heads, and remembers those that recur by their bytes: a client's are all alike.

    One that differs in its first line alone is made of what is remembered of the others: the lines, to the last byte of
    them, say how long the body is and how it comes, whatever the first line is. All that takes 4 MiB at most.
    """

    def __init__(self) -> None:
        self._remembered: dict[bytes, Head] = {}
        self._with_lines: dict[bytes, Head] = {}
        self._recurring = Recurring()
        self._size = 0
        self.known: Callable[[bytes], Head | None] = self._remembered.get
        """The head of these very bytes, if it is remembered."""

    def read(self, data: bytes) -> Head:
        """`data` is the whole head, up to and with its blank line. Raises BadHead."""
        head = self._remembered.get(data)
        if head is None:
            head = parse(data) if len(data) > _LONGEST_REMEMBERED else self._read(data)
        return head

    def alike(self, data: bytes) -> Head | None:
        """The head of these bytes, if one is remembered that differs from it in the first line alone."""
        first = _PLAIN.match(data)
        like = self._with_lines.get(data[first.end() :]) if first else None
        if first is None or like is None:
            return None
        head = like.asking(first[1].decode(), first[2])
        self._remember(self._remembered, data, head)
        return head

    def _read(self, data: bytes) -> Head:
        head = self.alike(data)
        if head is not None:
            return head
        head, first = parse(data), _PLAIN.match(data)
        cost = _LINE_COST * len(head.headers)
        if first is not None:
            self._remember(self._with_lines, data[first.end() :], head, cost)
            cost = 0
        self._remember(self._remembered, data, head, cost)
        return head

    def _remember(self, place: dict[bytes, Head], data: bytes, head: Head, lines_cost: int = 0) -> None:
        """Remember a head in its place, if its bytes came before."""
        if self._recurring.has(data):
            if self._size > _REMEMBERED_BYTES:
                self.forget()
            place[data] = head
            self._size += _HEAD_COST + _BYTE_COST * len(data) + lines_cost

    def forget(self) -> None:
        """Remember none any more."""
        self._remembered.clear()
        self._with_lines.clear()
        self._size = 0


def end_of_head(data: bytes) -> int:
    """Where the first head ends in `data`; 0 where more of it is to come. Raises BadHead where it cannot be one."""
    end = data.find(_BLANK)
    if end >= 0:
        if end > MAX_HEAD_BYTES:
            raise BadHead(431)
        return end + len(_BLANK)
    if data and _TOKEN.match(data) is None:  # TLS on a port without it, perhaps: its client is told at once
        raise BadHead(400)
    if len(data) > MAX_LINE_BYTES and data.find(b"\r\n") < 0:
        raise BadHead(414)
    if len(data) >= MAX_HEAD_BYTES:
        raise BadHead(431)
    return 0


def parse(data: bytes) -> Head:
    """The head in `data`, which ends with its blank line. Raises BadHead."""
    end = data.find(b"\r\n", 0, MAX_LINE_BYTES)
    if end < 0:
        raise BadHead(414)
    protocol = data[max(0, end - 9) : end]
    if protocol not in _PROTOCOLS:
        raise BadHead(505 if protocol.startswith(b" HTTP/") else 400)
    method = _TOKEN.match(data)
    if method is None:
        raise BadHead(400)
    read = _read(data, method.end())
    if len(read.lines) > MAX_HEADERS:
        raise BadHead(431)
    headers = HeadHeaders(read.lines)
    is_old = protocol == _OLD_PROTOCOL
    _check(headers, is_old=is_old)
    return Head(
        method[0].decode(),
        read.target,
        headers,
        keeps=not (is_old or _asks_to_close(headers)),
        expects=not is_old and (headers.get("expect") or "").lower() == "100-continue",
    )


def _read(data: bytes, end_of_method: int) -> _Read:
    read = _Read()
    try:
        try:
            _feed(data, read)
        except httptools.HttpParserInvalidMethodError:
            _feed(_KNOWN_METHOD + data[end_of_method:], read)
    except httptools.HttpParserError:
        raise BadHead(400) from None
    return read


def _feed(data: bytes, read: _Read) -> None:
    # To a protocol that is not spoken here nothing is upgraded: the request is answered as it stands (RFC 9110, 7.8).
    with contextlib.suppress(httptools.HttpParserUpgrade):
        httptools.HttpRequestParser(read).feed_data(data)


def _check(headers: HeadHeaders, *, is_old: bool) -> None:
    """What the parser lets pass and others may read in another way (RFC 9112, 3.2, 6.1, 11.2). Raises BadHead."""
    if headers.count("host") != 1 and not (is_old and "host" not in headers):
        raise BadHead(400)
    if "transfer-encoding" in headers:
        coding = headers.get("transfer-encoding") or ""
        if is_old or headers.count("transfer-encoding") != 1 or coding.lower() != "chunked":
            raise BadHead(400)


def _asks_to_close(headers: HeadHeaders) -> bool:
    return any(
        option.strip().lower() == "close"
        for line in headers.get_all("connection")
        for option in line.split(",")
    )


class _Read:
    """What the parser calls."""

    def __init__(self) -> None:
        self.target = b""
        self.lines: list[tuple[bytes, bytes]] = []

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.lines.append((name, value))


def _split(target: bytes) -> tuple[str | None, str, str]:
    """The authority (of the absolute form alone), the path, decoded once, and the query of a request's target."""
    authority = None
    if not target.startswith((b"/", b"*")):
        scheme, separator, rest = target.partition(b"://")
        if separator and scheme.lower() in {b"http", b"https"}:
            place, slash, rest = rest.partition(b"/")
            name, mark, query = place.partition(b"?")  # "http://name?query" has no path
            authority, target = name.decode("latin-1"), (slash or b"/") + (mark + query if mark else rest)
    path, _, query = target.partition(b"?")
    if b"%" in path:
        path = unquote_to_bytes(path)
    return authority, path.decode("utf-8", "replace"), query.decode("latin-1")


def _readable(named: dict[str, list[str | None]]) -> dict[str, list[str]]:
    return {name: [value for value in values if value is not None] for name, values in named.items()}


def _announced(headers: HeadHeaders) -> int | None:
    if "transfer-encoding" in headers:
        return None
    return whole_number(headers.get("content-length") or "0")
