"""Heads of requests: what is read of them, and what is refused."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cargohold.http.http1 import head as heads
from cargohold.http.http1.head import BadHead, HeadHeaders, end_of_head, parse
from tests.http.http1.request_heads import HOST, PIECES, get, lines, put


def refused(data: bytes) -> int:
    """The status that the sender of a head is told."""
    with pytest.raises(BadHead) as caught:
        parse(data)
    return caught.value.status


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/v2/", "/v2/", ""),
        (b"/v2/a?n=1&last=%2F", "/v2/a", "n=1&last=%2F"),
        (b"/v2/%61%2Fb", "/v2/a/b", ""),
        (b"/v2/%252f", "/v2/%2f", ""),
        (b"/v2/%zz%1", "/v2/%zz%1", ""),
        (b"/v2/%ff", "/v2/\ufffd", ""),
        (b"/a?b?c", "/a", "b?c"),
        (b"//a/../b", "//a/../b", ""),
        (b"*", "*", ""),
        (b"http://other/v2/?n=1", "/v2/", "n=1"),
        (b"HTTPS://other", "/", ""),
        (b"http://other?n=1", "/", "n=1"),
        (b"ftp://other/x", "ftp://other/x", ""),
    ],
)
def test_targets_are_split_and_paths_decoded_once(target: bytes, path: str, query: str) -> None:
    """A target is a path, decoded once, and a query as it was sent; of the absolute form too (RFC 9112, 3.2)."""
    read = parse(get(target))
    assert (read.method, read.path, read.query) == ("GET", path, query)


@pytest.mark.parametrize(
    ("data", "host"),
    [
        (get(b"/"), "registry"),
        (get(b"/", b"Host: registry:5000"), "registry:5000"),
        (get(b"/", b"Host:"), ""),
        (get(b"/", b"Host: user@registry"), ""),
        (get(b"http://other:5/"), "other:5"),
        (get(b"http://user@other/"), ""),
        (lines(b"GET / HTTP/1.0"), ""),
    ],
)
def test_the_host_is_who_was_asked(data: bytes, host: str) -> None:
    """It is that of an absolute target before that of the header, and empty where it is no name (RFC 9112, 3.2.2)."""
    assert parse(data).host == host


@pytest.mark.parametrize("method", ["GET", "PURGE", "BREW", "get", "M-SEARCH", "x" * 64, "CONNECT"])
def test_methods_are_what_they_are(method: str) -> None:
    """Any token of up to 64 characters is a method: the router knows which are spoken (RFC 9110, 9.1)."""
    target = b"registry:80" if method == "CONNECT" else b"/x"
    read = parse(lines(method.encode() + b" " + target + b" HTTP/1.1", HOST))
    assert (read.method, read.path) == (method, target.decode())


@pytest.mark.parametrize(
    ("headers", "length"),
    [
        ([], 0),
        ([b"Content-Length: 0"], 0),
        ([b"Content-Length: 12"], 12),
        ([b"content-length:\t12\t "], 12),
        ([b"Content-Length: 00012"], 12),
        ([b"Content_Length: 12"], 0),
        ([b"Transfer-Encoding: chunked"], None),
        ([b"Transfer-Encoding: Chunked "], None),
    ],
)
def test_lengths_are_announced_in_two_ways(headers: list[bytes], length: int | None) -> None:
    """A body has the Content-Length, or comes in chunks, or there is none (RFC 9112, 6.3)."""
    assert parse(put(*headers)).length == length


SMUGGLED = [
    [b"Content-Length:"],
    [b"Content-Length: 1 2"],
    [b"Content-Length: 3", b"Content-Length: 3"],
    [b"Content-Length: 3", b"Content-Length: 4"],
    [b"Content-Length: 3, 3"],
    [b"Content-Length: +3"],
    [b"Content-Length: -3"],
    [b"Content-Length: 1_0"],
    [b"Content-Length: 0x10"],
    [b"Content-Length: 3.0"],
    [b"Content-Length: 3\x0b"],
    [b"Content-Length: 3\0"],
    [b"Content-Length: \xb3"],
    [b"Content-Length: 99999999999999999999999"],
    [b"Content-Length : 3"],
    [b"Content-Length: 3", b"Transfer-Encoding: chunked"],
    [b"Transfer-Encoding: chunked", b"Content-Length: 3"],
    [b"Transfer-Encoding:"],
    [b"Transfer-Encoding: gzip"],
    [b"Transfer-Encoding: identity"],
    [b"Transfer-Encoding: gzip, chunked"],
    [b"Transfer-Encoding: chunked, gzip"],
    [b"Transfer-Encoding: chunked, chunked"],
    [b"Transfer-Encoding: chunked,"],
    [b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"],
    [b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked"],
    [b"Transfer-Encoding: chunked;q=1"],
    [b"Transfer-Encoding: xchunked"],
    [b'Transfer-Encoding: "chunked"'],
    [b"Transfer-Encoding: \x0bchunked"],
    [b"Transfer-Encoding: chunked\0"],
    [b"Transfer-Encoding: \xff"],
    [b"Transfer-Encoding: \xff, chunked"],
    [b"Transfer-Encoding: \xff", b"Transfer-Encoding: chunked"],
    [b"Transfer-Encoding: chunked", b"Transfer-Encoding: \xff"],
    [b"Transfer-Encoding : chunked"],
    [b"Transfer-Encoding:", b" chunked"],
    [b"Transfer-Encoding\xff: chunked"],
    [b"X: a", b" Transfer-Encoding: chunked"],
    [b"X: a\nTransfer-Encoding: chunked"],
    [b"X: a\rTransfer-Encoding: chunked"],
    [b"X: a\0b"],
    [b"X: a\x01b"],
    [b"X: a\x7fb"],
    [b"X\0: a"],
    [b" X: a"],
    [b": a"],
    [b"X"],
    [b"X(: a"],
]


@pytest.mark.parametrize("headers", SMUGGLED, ids=lambda found: repr(b"|".join(found)))
def test_what_others_may_read_otherwise_is_refused(headers: list[bytes]) -> None:
    """Of what leaves in doubt where a body or a line ends nothing is taken (RFC 9112, 2.2, 5, 6.1, 6.3, 11.2)."""
    assert refused(put(*headers)) == 400


@pytest.mark.parametrize(
    "data",
    [
        b"GET /a HTTP/1.1\nHost: a\r\n\r\n",
        b"GET /a HTTP/1.1\n\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: a\r\n\nGET /b HTTP/1.1\r\nX: b\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: a\r\n\rGET /b HTTP/1.1\r\nX: b\r\n\r\n",
        b"GET /a HTTP/1.1\rHost: a\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: a\r\r\n\r\n",
    ],
)
def test_a_line_ends_with_both_characters(data: bytes) -> None:
    """A CR or a LF alone ends no line, and so hides no second request (RFC 9112, 2.2)."""
    assert refused(data) == 400


@pytest.mark.parametrize(
    ("first", "status"),
    [
        (b"GET / HTTP/0.9", 505),
        (b"GET / HTTP/1.2", 505),
        (b"GET / HTTP/2.0", 505),
        (b"PRI * HTTP/2.0", 505),
        (b"GET / HTTP/1.11", 400),
        (b"GET / http/1.1", 400),
        (b"GET / HTTP/1.1 ", 400),
        (b"GET / RTSP/1.0", 400),
        (b"SOURCE / ICE/1.0", 400),
        (b"DESCRIBE / HTTP/1.1", 400),
        (b"GET /", 400),
        (b"GET", 400),
        (b"", 400),
        (b"GET  HTTP/1.1", 400),
        (b"GET x HTTP/1.1", 400),
        (b"GET /a b HTTP/1.1", 400),
        (b"GET\t/ HTTP/1.1", 400),
        (b" GET / HTTP/1.1", 400),
        (b"G(T / HTTP/1.1", 400),
        (b"x" * 65 + b" / HTTP/1.1", 400),
        (b"GET /\x01 HTTP/1.1", 400),
        (b"GET /\0 HTTP/1.1", 400),
        (b"GET /\x7f HTTP/1.1", 400),
        (b"GET /\xe9 HTTP/1.1", 400),
        (b"\x16\x03\x01", 400),
    ],
)
def test_first_lines_that_are_none_are_refused(first: bytes, status: int) -> None:
    """A first line is a method, a target and HTTP/1.1 or 1.0; another version of HTTP is a 505 (RFC 9112, 3)."""
    assert refused(lines(first, HOST)) == status


def test_a_request_has_one_host() -> None:
    """A request of HTTP/1.1 without a Host, or any with two, is a 400 (RFC 9112, 3.2)."""
    assert refused(lines(b"GET / HTTP/1.1")) == 400
    assert refused(lines(b"GET / HTTP/1.1", HOST, HOST)) == 400
    assert refused(lines(b"GET / HTTP/1.0", HOST, HOST)) == 400


def test_chunks_are_not_of_http_1_0() -> None:
    """A Transfer-Encoding in HTTP/1.0 is faulty framing (RFC 9112, 6.1)."""
    assert refused(lines(b"PUT / HTTP/1.0", HOST, b"Transfer-Encoding: chunked")) == 400


@pytest.mark.parametrize(
    ("data", "keeps"),
    [
        (put(), True),
        (put(b"Connection: keep-alive"), True),
        (put(b"Connection: close"), False),
        (put(b"Connection: CLOSE", b"Content-Length: 3"), False),
        (put(b"Connection: x , close"), False),
        (put(b"Connection: keep-alive", b"Connection: close"), False),
        (put(b"Connection: closed"), True),
        (put(b"Proxy-Connection: close"), True),
        (put(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: x"), True),
        (lines(b"BREW / HTTP/1.1", HOST, b"Connection: Upgrade", b"Upgrade: h2c"), True),
        (lines(b"CONNECT registry:80 HTTP/1.1", HOST), True),
        (lines(b"GET / HTTP/1.0"), False),
        (lines(b"GET / HTTP/1.0", b"Connection: keep-alive"), False),
    ],
)
def test_connections_go_on_unless_the_client_ends_them(data: bytes, keeps: bool) -> None:
    """HTTP/1.1 goes on unless `close` is among the options, whatever else is asked for (RFC 9112, 9.3)."""
    assert parse(data).keeps is keeps


@pytest.mark.parametrize(
    ("data", "expects"),
    [
        (put(b"Expect: 100-continue", b"Content-Length: 3"), True),
        (put(b"Expect: 100-Continue", b"Content-Length: 3"), True),
        (put(b"Expect:", b"Content-Length: 3"), False),
        (put(b"Expect: miracles", b"Content-Length: 3"), False),
        (lines(b"PUT / HTTP/1.0", b"Expect: 100-continue", b"Content-Length: 3"), False),
    ],
)
def test_leave_is_given_to_who_asks_for_it(data: bytes, expects: bool) -> None:
    """Only `100-continue` waits for leave, and HTTP/1.0 knows none (RFC 9110, 10.1.1)."""
    assert parse(data).expects is expects


def test_values_are_without_the_white_space_around_them() -> None:
    """White space before and after a value is none of it (RFC 9112, 5.1), and what is not ASCII is absent."""
    headers = parse(put(b"Accept: \t a b \t ", b"ACCEPT: c", b"Accept:", b"X: \xe9", b"X: d")).headers
    assert headers.get_all("accept") == ["a b", "c", ""]
    assert (headers.get("accept"), headers.get("x"), headers.get("y")) == ("a b", None, None)
    assert (headers.get_all("x"), headers.get_all("y")) == (["d"], [])
    assert ("x" in headers, "y" in headers, headers.count("x"), headers.count("y")) == (True, False, 2, 0)
    assert headers.values() == ["registry", "a b", "c", "", "d"]
    assert len(headers) == 6


def test_a_head_has_a_hundred_lines_at_most() -> None:
    """A hundred header lines are taken, of one more the sender is told that they are too many."""
    assert len(parse(put(*[b"X: a"] * 99)).headers) == 100
    assert refused(put(*[b"X: a"] * 100)) == 431


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /" + b"a" * heads.MAX_LINE_BYTES, 414),
        (b"GET / HTTP/1.1\r\n".ljust(heads.MAX_HEAD_BYTES, b"a"), 431),
        (b"GET / HTTP/1.1\r\n".ljust(heads.MAX_HEAD_BYTES + 1, b"a") + b"\r\n\r\n", 431),
        (b"\x16\x03\x01\x02\x00", 400),
        (b"(", 400),
    ],
)
def test_what_can_be_no_head_is_refused_before_its_end(data: bytes, status: int) -> None:
    """A line over 64 KiB is a 414, a head over 128 KiB a 431, and what begins with no method is no request."""
    with pytest.raises(BadHead) as caught:
        end_of_head(data)
    assert caught.value.status == status


def test_a_first_line_of_64_kibibytes_is_too_long() -> None:
    """Also where it came whole, its sender is told that the address is too long (RFC 9112, 3)."""
    assert refused(get(b"/" + b"a" * heads.MAX_LINE_BYTES)) == 414


@given(st.binary(max_size=300))
def test_a_head_ends_with_its_blank_line(data: bytes) -> None:
    """The end is right after the first blank line; without one more is awaited, or it is refused."""
    try:
        end = end_of_head(data)
    except BadHead:
        assert b"\r\n\r\n" not in data
    else:
        assert end == (data.find(b"\r\n\r\n") + 4 if b"\r\n\r\n" in data else 0)


@given(st.one_of(st.binary(max_size=200), st.lists(PIECES, max_size=30).map(b"".join)))
@example(b"BREW / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c")
def test_whatever_comes_is_read_or_refused(data: bytes) -> None:
    """Any bytes are a head or a BadHead, and what is read has one length, and one host at most."""
    with contextlib.suppress(BadHead):
        read = parse(data + b"\r\n\r\n")
        assert read.headers.count("content-length") + read.headers.count("transfer-encoding") <= 1
        assert read.headers.count("host") <= 1
        assert read.length is None or read.length >= 0


def test_headers_can_be_made_of_lines() -> None:
    """Names are found in lower case, whatever case they came in."""
    headers = HeadHeaders([(b"X-Name", b"1"), (b"x-nAME", b"2")])
    assert headers.get_all("x-name") == ["1", "2"]
