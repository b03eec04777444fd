"""Heads of answers: what is sent of the headers of a route, and what the protocol adds."""

from __future__ import annotations

import re
import time
import tracemalloc
from email.utils import parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cargohold.http.http1.answers import encode, refusal
from cargohold.messages import Answer, Bytes, Empty, File, Headers


def sent(answer: Answer, request_id: str = "", *, to_head: bool = False, last: bool = False) -> list[str]:
    """The lines of an answer's head without the date."""
    encoded = encode(answer, request_id, to_head=to_head, last=last)
    assert encoded.endswith(b"\r\n\r\n")
    lines = encoded.decode("latin-1")[:-4].split("\r\n")
    assert lines[1].startswith("date: ")
    return [lines[0], *lines[2:]]


@pytest.mark.parametrize(
    ("answer", "to_head", "lengths"),
    [
        (Bytes(200, [], b"abc"), False, ["content-length: 3"]),
        (Bytes(200, [], b"abc"), True, ["content-length: 3"]),
        (Bytes(200, [("content-length", "3")], b"abc"), False, ["content-length: 3"]),
        (Empty(200, []), False, ["content-length: 0"]),
        (Empty(200, []), True, []),
        (Empty(200, [("content-length", "7")]), True, ["content-length: 7"]),
        (Empty(204, []), False, []),
        (Empty(304, []), False, []),
        (File(200, [("content-length", "5")], "/file"), False, ["content-length: 5"]),
    ],
)
def test_every_answer_tells_where_it_ends(answer: Answer, to_head: bool, lengths: list[str]) -> None:
    """An answer with a body has one Content-Length; 204 and 304 and those to HEAD need none (RFC 9110, 8.6)."""
    lines = sent(answer, to_head=to_head)
    assert [line for line in lines if line.startswith("content-length")] == lengths


def test_a_file_must_tell_its_length() -> None:
    """Nobody but the route knows how much of a file is meant."""
    with pytest.raises(TypeError, match="length"):
        encode(File(200, [], "/file"), "", to_head=False, last=False)


@pytest.mark.parametrize("headers", [[], [("connection", "close")]])
def test_the_last_answer_says_so_once(headers: Headers) -> None:
    """The last answer of a connection bears `Connection: close`, others do not (RFC 9112, 9.6)."""
    assert sent(Empty(204, headers), last=True) == ["HTTP/1.1 204 No Content", "connection: close"]
    assert sent(Empty(204, [])) == ["HTTP/1.1 204 No Content"]


@pytest.mark.parametrize(
    ("status", "line"),
    [(200, "HTTP/1.1 200 OK"), (413, "HTTP/1.1 413 Request Entity Too Large"), (599, "HTTP/1.1 599 Unknown")],
)
def test_the_first_line_names_the_status(status: int, line: str) -> None:
    """A status without a name of its own has one all the same (RFC 9112, 4)."""
    assert sent(Empty(status, []))[0] == line


def test_the_date_is_now() -> None:
    """Every answer bears the time at which it was made, in the form of mail (RFC 9110, 6.6.1)."""
    before = int(time.time())
    date = re.search(rb"\r\ndate: (.*) GMT\r\n", encode(Empty(204, []), "", to_head=False, last=False))
    assert date is not None
    assert before <= parsedate_to_datetime(f"{date[1].decode()} GMT").timestamp() <= time.time()


@pytest.mark.parametrize(
    "value",
    ["a\r\nx-injected: 1", "a\nb", "a\rb", "a\0b", "a\x01b", "a\x7fb", "\r\n", "\u20ac", "a\x85\x0bb"],
)
@pytest.mark.parametrize("name", ["x-bad", "x-bad-\xe9"])
def test_what_is_no_header_is_left_out(name: str, value: str) -> None:
    """A value that holds more than a line may (RFC 9110, 5.5) is not sent; all others are."""
    answer = Empty(204, [("x-one", "1"), (name, value), ("x-two", "2")])
    assert sent(answer) == ["HTTP/1.1 204 No Content", "x-one: 1", "x-two: 2"]


@pytest.mark.parametrize("value", ["\xe9", "a\tb", "", " a "])
def test_what_a_header_may_hold_is_sent(value: str) -> None:
    """Tabs and the upper half of Latin-1 may stand in a value (RFC 9110, 5.5)."""
    assert sent(Empty(204, [("x-wide", value)]))[1:] == [f"x-wide: {value}"]


VALUES = st.text(st.characters(codec="utf-8", max_codepoint=0x2FF), max_size=12)
NAMES = st.sampled_from(["x-a", "x-b", "location", "x\r\n-c", "x\n"])


@given(st.lists(st.tuples(NAMES, VALUES), max_size=6), st.booleans(), st.booleans())
def test_no_line_is_sent_that_was_not_given(headers: Headers, to_head: bool, last: bool) -> None:
    """Whatever the headers hold, each line of the head is one of them whole, or the protocol's own."""
    own = ["HTTP/1.1 204 No Content", "connection: close"]
    given_lines = [f"{name}: {value}" for name, value in headers]
    assert set(sent(Empty(204, headers), to_head=to_head, last=last)) <= {*own, *given_lines}


def test_answers_that_are_nearly_alike_are_not_confused() -> None:
    """What is remembered of an answer is sent with one that is the same in all that its head tells, and no other."""
    headers, other = [("x-one", "1")], [("x-one", "2")]
    cases: list[tuple[Bytes | Empty, bool, bool, list[str]]] = [
        (Bytes(200, headers, b"abc"), False, False, ["x-one: 1", "content-length: 3"]),
        (Bytes(200, headers, b"abcd"), False, False, ["x-one: 1", "content-length: 4"]),
        (Bytes(200, headers, b"abc"), False, True, ["x-one: 1", "content-length: 3", "connection: close"]),
        (Bytes(200, other, b"abc"), False, False, ["x-one: 2", "content-length: 3"]),
        (Empty(200, headers), False, False, ["x-one: 1", "content-length: 0"]),
        (Empty(200, headers), True, False, ["x-one: 1"]),
        (Empty(204, headers), False, False, ["x-one: 1"]),
    ]
    for _ in range(2):
        for answer, to_head, last, lines in cases:
            assert sent(answer, to_head=to_head, last=last)[1:] == lines
            for number in ("a-1", "a-2"):
                told = [f"x-request-id: {number}", *lines]
                assert sent(answer, number, to_head=to_head, last=last)[1:] == told


@pytest.mark.parametrize("length", [10, 900, 5_000, 1 << 18])
def test_what_is_remembered_of_answers_is_bounded(length: int) -> None:
    """However many answers differ, and however long their headers are, what is kept of them takes 3 MiB at most."""
    tracemalloc.start()
    try:
        for number in range(1_500):
            encode(Empty(204, [("x-wide", f"{number:0{length}}")]), "", to_head=False, last=False)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < 3 << 20


def test_a_head_of_nothing_but_bad_headers_ends_where_it_should() -> None:
    """Where no header is left, the head ends after the date, and no byte of the next answer's is sent."""
    encoded = encode(Empty(204, [("x-bad", "\0")]), "", to_head=False, last=False)
    assert encoded.count(b"\r\n") == 3


@pytest.mark.parametrize("status", [400, 414, 431, 505])
def test_a_refusal_is_whole(status: int) -> None:
    """What was no request gets an answer without a body, with which the connection ends."""
    lines = refusal(status).decode().split("\r\n")
    assert lines[0].startswith(f"HTTP/1.1 {status} ")
    assert lines[2:] == ["content-length: 0", "connection: close", "", ""]
