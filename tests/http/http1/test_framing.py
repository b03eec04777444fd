"""Where bodies end: chunks in every form, and what is no chunk."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cargohold.http.http1.framing import BadFraming, Chunked, Framing, Sized


def taken(framing: Framing, pieces: list[bytes]) -> tuple[bytes, bytes]:
    """The content of a body that comes in these pieces, and what came after it."""
    content, rest = b"", b""
    for piece in pieces:
        if framing.complete:
            rest += piece
            continue
        spans, used = framing.take(bytearray(piece), 0, len(piece))
        content += b"".join(piece[start:stop] for start, stop in spans)
        rest += piece[used:]
        assert framing.complete or used == len(piece)
    return content, rest


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted(cut % (len(data) + 1) for cut in cuts)
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


def outcome(data: bytes, cuts: list[int]) -> tuple[bytes, bytes, bool] | None:
    """What a chunked body comes to, and whether it is complete; None where it is refused."""
    framing = Chunked()
    try:
        content, rest = taken(framing, split(data, cuts))
    except BadFraming:
        return None
    return content, rest, framing.complete


@given(st.binary(max_size=50), st.integers(0, 50), st.lists(st.integers(0, 99), max_size=5))
def test_a_sized_body_is_so_many_bytes(data: bytes, length: int, cuts: list[int]) -> None:
    """A body with a Content-Length is its first bytes, however they come; the rest is not its own (RFC 9112, 6.2)."""
    framing = Sized(length)
    assert taken(framing, split(data, cuts)) == (data[:length], data[length:])
    assert framing.complete == (len(data) >= length)


CONTENTS = st.lists(st.binary(min_size=1, max_size=40), max_size=6)
EXTENSIONS = st.sampled_from([b"", b";a", b";a=1", b' ; a="b c"', b"\t;x", b";" + b"e" * 1500, b";\xe9"])
TRAILERS = st.sampled_from([b"", b"X: 1\r\n", b"X:\r\nY: \xe9\r\n"])


@given(
    CONTENTS,
    EXTENSIONS,
    TRAILERS,
    st.binary(max_size=20),
    st.lists(st.integers(0, 5000), max_size=8),
)
def test_chunks_are_one_body_however_they_come(
    contents: list[bytes], extension: bytes, trailers: bytes, rest: bytes, cuts: list[int]
) -> None:
    """Chunks come to their contents in a row, extensions and trailers dropped, cut anywhere (RFC 9112, 7.1)."""
    chunks = [b"%X%s\r\n%s\r\n" % (len(content), extension, content) for content in contents]
    data = b"".join(chunks) + b"0%s\r\n" % extension + trailers + b"\r\n"
    assert outcome(data + rest, cuts) == (b"".join(contents), rest, True)


@given(
    st.one_of(
        st.binary(max_size=60),
        st.lists(
            st.sampled_from([b"1", b"a", b"0", b"\r\n", b"\r", b"\n", b";", b" ", b"x", b":", b"1\r\nx\r\n"]),
            max_size=25,
        ).map(b"".join),
    ),
    st.lists(st.integers(0, 60), max_size=6),
)
def test_any_bytes_come_to_the_same_in_any_pieces(data: bytes, cuts: list[int]) -> None:
    """What is a body in one piece is the same in many, what is refused is refused, and nothing else is raised."""
    assert outcome(data, []) == outcome(data, cuts)


@pytest.mark.parametrize(
    "size",
    [
        b"",
        b" ",
        b"0x1",
        b"+1",
        b"-1",
        b"1_0",
        b"g",
        b" 1",
        b"1 ",
        b"1\t",
        b"1 x",
        b"1 2",
        b"1\0",
        b"1;a\0",
        b"1;a\r",
        b"1;a\x7f",
        b"1\x0b;a",
        b"0000000000000001",
        b"10000000000000000",
        b"ffffffffffffffffffff",
        b"\xd9\xa1",
        b"1;" + b"a" * 4096,
    ],
)
def test_what_is_no_size_is_refused(size: bytes) -> None:
    """A size is one to fifteen hexadecimal digits, with extensions of less than 4 KiB or none (RFC 9112, 7.1)."""
    assert outcome(size + b"\r\nx\r\n0\r\n\r\n", []) is None
    assert outcome(b"1\r\nx\r\n" + size + b"\r\nx\r\n0\r\n\r\n", [3, 7]) is None


@pytest.mark.parametrize(
    "data",
    [
        b"1\nx\r\n0\r\n\r\n",
        b"1\r\nx\n0\r\n\r\n",
        b"1\r\nxy\r\n0\r\n\r\n",
        b"1\r\nx0\r\n\r\n",
        b"1\r\nx\r\r\n0\r\n\r\n",
        b"2\r\nx\r\n0\r\n\r\n",
        b"0\n\r\n",
        b"0\r\n\n",
        b"0\r\n\r\r\n\r\n",
        b"0\r\nGET / HTTP/1.1\r\n\r\n",
        b"0\r\n X: folded\r\n\r\n",
        b"0\r\nX : 1\r\n\r\n",
        b"0\r\nX: a\0\r\n\r\n",
        b"0\r\nX: a\rY: b\r\n\r\n",
        b"0\r\n" + b"X: %s\r\n" % (b"a" * 4096) + b"\r\n",
        b"0\r\n" + b"X: %s\r\n" % (b"a" * 1000) * 20 + b"\r\n",
    ],
)
def test_what_is_no_chunk_and_no_trailer_is_refused(data: bytes) -> None:
    """Chunks and lines end with CR and LF where their size says so; trailers are header lines (RFC 9112, 7.1.2)."""
    assert outcome(data, []) is None


@pytest.mark.parametrize(
    "data",
    [b"1", b"1\r", b"1\r\n", b"1\r\nx", b"1\r\nx\r", b"1\r\nx\r\n", b"0\r\n", b"0\r\nX: 1\r\n", b"0\r\n\r"],
)
def test_a_body_is_not_complete_before_its_last_line(data: bytes) -> None:
    """A body that is cut anywhere before the blank line at its end is not complete (RFC 9112, 8)."""
    found = outcome(data, [])
    assert found is not None
    assert not found[2]


def test_only_what_came_counts() -> None:
    """Of a buffer what is before and behind what came is something else, and none of the body."""
    framing = Chunked()
    assert framing.take(bytearray(b"2\r\nabcd\r\n0\r\n\r\n"), 0, 4) == ([(3, 4)], 4)
    assert framing.take(bytearray(b"1\r\nb\r\n0\r\n\r\nold"), 3, 11) == ([(3, 4)], 11)
    assert framing.complete
    assert Sized(2).take(b"abcdef", 3, 6) == ([(3, 5)], 5)


def test_thousands_of_chunks_in_a_buffer_are_taken_at_once() -> None:
    """However small the chunks are, what comes at once is found at once."""
    data = bytearray(re.sub(rb"(.)", rb"1\r\n\1\r\n", b"0123456789" * 1000))
    spans, used = Chunked().take(data, 0, len(data))
    assert used == len(data)
    assert b"".join(data[start:stop] for start, stop in spans) == b"0123456789" * 1000
