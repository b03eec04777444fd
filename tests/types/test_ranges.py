"""Ranges (RFC 9110, 14; spec.md, "Pushing a blob in chunks")."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cargohold.types.errors import BlobUploadInvalid, RangeInvalid, UploadRangeInvalid
from cargohold.types.ranges import (
    ByteRange,
    ChunkRange,
    format_content_range,
    format_upload_range,
    parse_content_range,
    parse_range,
)

HUGE = "9" * 100_000


@pytest.mark.parametrize(
    ("header", "size", "expected"),
    [
        ("bytes=0-9", 100, ByteRange(0, 10)),
        ("bytes=0-0", 1, ByteRange(0, 1)),
        ("bytes=99-99", 100, ByteRange(99, 100)),
        ("bytes=10-", 100, ByteRange(10, 100)),
        ("bytes=-10", 100, ByteRange(90, 100)),
        ("bytes=-100", 100, ByteRange(0, 100)),
        ("bytes=-101", 100, ByteRange(0, 100)),
        ("bytes=90-1000", 100, ByteRange(90, 100)),
        (f"bytes=90-{HUGE}", 100, ByteRange(90, 100)),
        (f"bytes=-{HUGE}", 100, ByteRange(0, 100)),
        (f"bytes={'0' * 100_000}5-6", 100, ByteRange(5, 7)),
        ("Bytes=0-9", 100, ByteRange(0, 10)),
        ("bytes= 0-9 ", 100, ByteRange(0, 10)),
    ],
)
def test_a_range_names_a_part(header: str, size: int, expected: ByteRange) -> None:
    """first-last, first- and -suffix; what lies past the end is cut off; numbers may be of any length."""
    assert parse_range(header, size) == expected


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=1",
        "bytes=1-2-3",
        "bytes=--1",
        "bytes=+1-2",
        "bytes=0-1,3-4",
        "bytes=0-1,",
        "items=0-1",
        "bytes 0-1",
        "bytes=0x0-0x1",
        "bytes=\u0661-\u0662",
        "0-1",
        "bytes=0 - 1",
        "bytes =0-1",
        "bytes=0-1\n",
        "bytes=1.0-2.0",
        "bytes=-1-",
    ],
)
def test_what_is_no_single_range_gets_the_whole(header: str | None) -> None:
    """No header, another unit, several ranges and malformed ones are ignored (RFC 9110, 14.2)."""
    assert parse_range(header, 100) is None


@pytest.mark.parametrize(
    ("header", "size"),
    [
        ("bytes=100-", 100),
        ("bytes=100-200", 100),
        ("bytes=-0", 100),
        ("bytes=5-4", 100),
        ("bytes=99-0", 100),
        ("bytes=0-", 0),
        ("bytes=0-0", 0),
        ("bytes=-1", 0),
        (f"bytes={HUGE}-", 100),
        (f"bytes={HUGE}-{HUGE}", 100),
        (f"bytes={HUGE}-1", 100),
    ],
)
def test_a_range_of_nothing_is_refused_with_the_size(header: str, size: int) -> None:
    """None of the bytes there, or the last before the first: 416, and `Content-Range` says what there is."""
    with pytest.raises(RangeInvalid) as refused:
        parse_range(header, size)
    assert refused.value.status == 416
    assert refused.value.headers == [("content-range", f"bytes */{size}")]


def naive(header: str, content: bytes) -> bytes | None:
    """The part that a well-formed range names, taken byte by byte; None where it names none."""
    first, last = header.removeprefix("bytes=").split("-")
    if not first:
        wanted = [at for at in range(len(content)) if at >= len(content) - int(last)]
    else:
        wanted = [at for at in range(len(content)) if at >= int(first) and (not last or at <= int(last))]
    return bytes(content[at] for at in wanted) or None


@given(st.from_regex(r"bytes=([0-9]{1,2}-[0-9]{0,2}|-[0-9]{1,2})", fullmatch=True), st.binary(max_size=60))
def test_a_range_selects_what_a_reader_would(header: str, content: bytes) -> None:
    """For every well-formed range the part is the bytes that it names; where there are none it is refused."""
    expected = naive(header, content)
    if expected is None:
        with pytest.raises(RangeInvalid):
            parse_range(header, len(content))
    else:
        part = parse_range(header, len(content))
        assert part is not None
        assert content[part.start : part.stop] == expected
        written = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", format_content_range(part, len(content)))
        assert written is not None
        first, last, size = map(int, written.groups())
        assert (first, last + 1, size) == (part.start, part.stop, len(content))


@given(
    st.one_of(st.text(), st.from_regex(r"(bytes|Bytes|x)?=?[0-9 ,-]*", fullmatch=True)), st.integers(0, 2**40)
)
def test_any_range_is_understood_ignored_or_refused(header: str, size: int) -> None:
    """Whatever a client sends, the outcome is a part that is there, the whole, or 416."""
    try:
        part = parse_range(header, size)
    except RangeInvalid:
        return
    assert part is None or 0 <= part.start < part.stop <= size


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("0-99", ChunkRange(0, 100)),
        ("100-100", ChunkRange(100, 101)),
        (" 5-9\t", ChunkRange(5, 10)),
        ("007-009", ChunkRange(7, 10)),
        ("bytes 0-99/*", ChunkRange(0, 100)),
        ("bytes 0-99/200", ChunkRange(0, 100)),
        ("bytes 0-99", ChunkRange(0, 100)),
        ("bytes=0-99", ChunkRange(0, 100)),
        ("Bytes 0-99/*", ChunkRange(0, 100)),
        (f"0-{10**18 - 1}", ChunkRange(0, 10**18)),
    ],
)
def test_a_chunk_says_where_it_lies(header: str | None, expected: ChunkRange | None) -> None:
    """The specification's form, and those with a unit or a total; no header says nothing."""
    assert parse_content_range(header) == expected


@pytest.mark.parametrize(
    "header",
    [
        "",
        "-",
        "0-",
        "-99",
        "0",
        "a-b",
        "0--1",
        "0-99/",
        "0-99/x",
        "bytes */200",
        "items 0-99/200",
        "0-99,100-199",
        "0 - 99",
        "+0-99",
        "0-99\n",
        "\u0660-\u0669",
        "bytes0-99",
        "0x0-0x9",
        f"0-{HUGE}",
        f"{HUGE}-{HUGE}",
    ],
)
def test_a_malformed_chunk_is_refused_with_the_form(header: str) -> None:
    """BLOB_UPLOAD_INVALID 400, and the message shows how it is written."""
    with pytest.raises(BlobUploadInvalid, match="Content-Range must be <first>-<last>") as refused:
        parse_content_range(header)
    assert refused.value.status == 400


@pytest.mark.parametrize("header", ["1-0", "100-99", "bytes 5-4/10"])
def test_a_chunk_that_ends_before_it_starts_is_refused(header: str) -> None:
    """BLOB_UPLOAD_INVALID 416."""
    with pytest.raises(
        UploadRangeInvalid, match="the last byte of Content-Range comes before the first"
    ) as refused:
        parse_content_range(header)
    assert refused.value.status == 416


@given(st.integers(0, 10**18 - 1), st.integers(0, 10**6))
def test_a_chunk_is_read_as_it_was_written(start: int, more: int) -> None:
    """Every pair of numbers in order is the chunk from the first to the last, both included."""
    last = min(start + more, 10**18 - 1)
    assert parse_content_range(f"{start}-{last}") == ChunkRange(start, last + 1)


@given(st.one_of(st.text(), st.from_regex(r"(bytes[ =])?[0-9/*-]*", fullmatch=True)))
def test_any_content_range_is_understood_or_refused(header: str) -> None:
    """Whatever a client sends, the outcome is a chunk of at least a byte, 400 or 416."""
    try:
        chunk = parse_content_range(header)
    except BlobUploadInvalid:
        return
    assert chunk is not None
    assert 0 <= chunk.start < chunk.stop


@pytest.mark.parametrize(("size", "text"), [(0, "0-0"), (1, "0-0"), (2, "0-1"), (10**12, f"0-{10**12 - 1}")])
def test_an_upload_says_how_far_it_is(size: int, text: str) -> None:
    """`0-<last>`; a session without a byte says `0-0` too."""
    assert format_upload_range(size) == text
