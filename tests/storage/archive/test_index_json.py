"""The descriptors of an index.json, read one after the other."""

from __future__ import annotations

import json
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cargohold.storage.archive.index_json import read_descriptors
from cargohold.storage.archive.tar import ArchiveInvalid

if TYPE_CHECKING:
    from collections.abc import Iterator

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def read(text: str | bytes, size: int = 7) -> list[Any]:
    content = text.encode() if isinstance(text, str) else text
    return list(read_descriptors(content[at : at + size] for at in range(0, len(content), size)))


@given(
    st.lists(VALUES, max_size=5),
    st.dictionaries(st.text(max_size=5).filter(lambda key: key != "manifests"), VALUES, max_size=3),
    st.sampled_from([None, 1]),
    st.integers(1, 50),
)
def test_what_the_standard_library_writes(
    manifests: list[Any], others: dict[str, Any], indent: int | None, size: int
) -> None:
    """Whatever else the object holds, and wherever the pieces end, the values are those in `manifests`."""
    for document in ({"manifests": manifests, **others}, {**others, "manifests": manifests}):
        assert read(json.dumps(document, indent=indent, ensure_ascii=False), size) == manifests


def test_null_is_empty() -> None:
    """A list that was never filled is `null` where Go writes it."""
    assert read('{"manifests":null}') == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "null",
        '{"manifests":{}}',
        '{"manifests":[1,]}',
        '{"manifests":[1]',
        '{"manifests":[1}',
        '{"manifests":[1]}x',
        '{"manifests":[1],"manifests":[2]}',
        '{"manifests" [1]}',
        '{"manifests":[1],}',
        "{1:2}",
        '{"manifests":["' + "\udc80".encode("utf-8", "surrogatepass").decode("latin-1") + "]}",
        '{"schemaVersion":2}',
        '{"manifests":[' + "[" * 200_000,
        '{"manifests":[1' + "0" * 10_000 + "]}",
    ],
    ids=range(17),
)
def test_what_is_no_index(text: str) -> None:
    """Anything else is refused, and so is what two readers would understand differently."""
    with pytest.raises(ArchiveInvalid, match=r"index\.json"):
        read(text, 1 << 16)


def test_what_is_not_in_utf_8() -> None:
    """Other encodings are refused."""
    with pytest.raises(ArchiveInvalid, match="UTF-8"):
        read(b'{"manifests":["\xff"]}')


def test_numbers_are_whole() -> None:
    """A number is read to its end, though a piece ends within it."""
    assert read('{"manifests":[12345678901234567890, 1]}', 3) == [12345678901234567890, 1]


def test_memory_is_bounded() -> None:
    """A hundred thousand descriptors take the memory of a few; one that has no end is refused."""
    line = json.dumps({"digest": "sha256:" + "a" * 64, "annotations": {"name": "x" * 200}}) + ","

    def pieces() -> Iterator[bytes]:
        yield b'{"manifests":['
        for _ in range(1_000):
            yield line.encode() * 100
        yield b"{}]}"

    tracemalloc.start()
    try:
        assert sum(1 for _ in read_descriptors(pieces())) == 100_001
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    with pytest.raises(ArchiveInvalid, match="too long"):
        read('{"manifests":["' + "x" * (40 << 20) + '"]}', 1 << 20)


@pytest.mark.parametrize("inner", ["[],", '{"":0},', "0.5,"])
@pytest.mark.parametrize("text", ['{"x":[%s0],"manifests":[]}', '{"manifests":[[%s0]]}'])
def test_memory_of_one_value(text: str, inner: str) -> None:
    """A value of very many small ones is refused before it takes much memory, wherever it is."""
    content = (text % (inner * ((8 << 20) // len(inner)))).encode()
    tracemalloc.start()
    try:
        with pytest.raises(ArchiveInvalid, match="too long"):
            read(content, 1 << 16)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()
