"""Heads of requests: what is remembered of them, and that nothing else is read for it."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cargohold.http.http1.head import BadHead, Head, Heads, parse
from tests.http.http1.request_heads import HOST, LINES, PIECES, get, lines, put

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("data", [get(b"/a"), put(b"Content-Length: 3"), put(b"Transfer-Encoding: chunked")])
def test_the_same_bytes_are_read_no_more_than_twice(data: bytes) -> None:
    """A head that recurs is given again for the same bytes, and only for them; one that is very long is not."""
    reader = Heads()
    reader.read(data)
    kept = reader.read(data)
    assert reader.read(data) is kept
    assert reader.read(get(b"/b")).path == "/b"
    other = get(b"/" + b"a" * 5000)
    reader.read(other)
    assert reader.read(other) is not reader.read(other)


def test_headers_that_recur_are_one_object() -> None:
    """Heads that differ in their first line alone share their headers, by which others know them again."""
    reader = Heads()
    reader.read(get(b"/a"))
    assert reader.read(get(b"/b")).headers is reader.read(get(b"/c")).headers


def told(read: Callable[[bytes], Head], data: bytes) -> object:
    """All that is read of a head, or the status of its refusal."""
    try:
        head = read(data)
    except BadHead as refusal:
        return refusal.status
    names = ("accept", "connection", "content-length", "expect", "host", "transfer-encoding", "upgrade")
    lines = [(name, head.headers.count(name), head.headers.get_all(name)) for name in names]
    return head.method, head.path, head.query, head.host, head.length, head.keeps, head.expects, lines


METHODS = st.sampled_from(
    [b"GET", b"HEAD", b"PUT", b"PATCH", b"POST", b"DELETE", b"BREW", b"CONNECT", b"get", b"GET ", b"PUTS"]
)
TARGETS = st.lists(st.one_of(PIECES, st.binary(max_size=3)), max_size=5).map(b"".join)
HEADERS = st.lists(st.sampled_from([*LINES, HOST, b"Accept: a", b"X", b" folded"]), max_size=4)


@given(HEADERS, st.lists(st.tuples(METHODS, st.one_of(TARGETS, TARGETS.map(b"/".__add__))), max_size=4))
@example([HOST], [(b"GET", b"/%2e?a=%2f"), (b"HEAD", b"/a?b?c"), (b"GET", b"http://other/a")])
@example([HOST, b"Content-Length: 3"], [(b"GET", b"/"), (b"PUT", b"/a"), (b"PATCH", b"/b"), (b"POST", b"*")])
@example([HOST, b"Transfer-Encoding: chunked"], [(b"PUT", b"/a"), (b"DELETE", b"/b"), (b"CONNECT", b"a:1")])
@example([HOST, b"Transfer-Encoding: gzip"], [(b"PUT", b"/a"), (b"GET", b"/b")])
@example([HOST, b"Content-Length: 3", b"Transfer-Encoding: chunked"], [(b"PUT", b"/a"), (b"POST", b"/b")])
@example(
    [HOST, b"Connection: Upgrade", b"Upgrade: h2c", b"Content-Length: 3"], [(b"PUT", b"/a"), (b"GET", b"/")]
)
def test_what_is_made_of_another_head_is_what_would_be_read(
    headers: list[bytes], asked: list[tuple[bytes, bytes]]
) -> None:
    """A head with the lines of one before it is the same, and is refused for the same, as if it had come alone."""
    reader = Heads()
    for method, target in [(b"GET", b"/first"), *asked, *asked]:
        data = lines(method + b" " + target + b" HTTP/1.1", *headers)
        assert told(reader.read, data) == told(parse, data)


FRAMINGS = [
    [HOST, *others]
    for others in (
        [],
        [b"Content-Length: 3"],
        [b"Content-Length: 4"],
        [b"Content-Length: 3", b"Expect: 100-continue"],
        [b"Content-Length: 3", b"Connection: close"],
        [b"Content-Length: 3", b"Content-Length: 3"],
        [b"Content-Length: 3", b"Transfer-Encoding: chunked"],
        [b"Transfer-Encoding: chunked"],
        [b"Transfer-Encoding: gzip"],
        [b"X-Content-Length: 3"],
        [b"X: Content-Length: 3"],
    )
]


@given(
    st.lists(
        st.tuples(METHODS, st.sampled_from([b"/a", b"/b", b"*"]), st.sampled_from(FRAMINGS)), max_size=30
    )
)
@example([(b"PUT", b"/a", framing) for framing in FRAMINGS for _ in range(3)])
@example([(b"PUT", b"/%d" % number, framing) for number in range(3) for framing in FRAMINGS])
def test_bodies_are_framed_as_their_own_heads_say(asked: list[tuple[bytes, bytes, list[bytes]]]) -> None:
    """Whatever came before: heads that are the same but for their length, or how the body comes, are not confused."""
    reader = Heads()
    for method, target, headers in asked:
        data = lines(method + b" " + target + b" HTTP/1.1", *headers)
        assert told(reader.read, data) == told(parse, data)


def test_what_is_refused_is_not_remembered() -> None:
    """A bad head is refused each time that it comes."""
    reader = Heads()
    for _ in range(2):
        with pytest.raises(BadHead):
            reader.read(get(b"no path"))


@pytest.mark.parametrize(
    ("shape", "count"),
    [
        (lambda number: b"GET /%d HTTP/1.0\r\n\r\n" % number, 16_000),
        (lambda number: put(*[b"%d:" % (number * 99 + line) for line in range(99)]), 600),
        (lambda number: put(*[b"%d:%s" % (number * 99 + line, b"x" * 30) for line in range(99)]), 600),
        (lambda number: get(b"/%d/%s" % (number, b"a" * 3900)), 1500),
        (lambda number: get(b"/%d" % number), 16_000),
        (lambda number: get(b"/", b"Host: %d" % number), 16_000),
        (lambda number: put(b"Content-Length: %d" % number), 16_000),
    ],
    ids=[
        "tiny",
        "of many lines",
        "of many long lines",
        "of a long address",
        "with the same lines",
        "with other lines",
        "of bodies of any length",
    ],
)
def test_what_is_remembered_is_bounded(shape: Callable[[int], bytes], count: int) -> None:
    """However many heads come, and of whatever kind, what is kept of them takes some 4 MiB and no more."""
    reader = Heads()
    tracemalloc.start()
    try:
        for number in range(count):
            reader.read(shape(number))
            reader.read(shape(number))
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < 5 << 20
