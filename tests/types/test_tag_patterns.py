"""Patterns of tags."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cargohold.types.tag_patterns import check_tag_pattern, compile_tag_patterns


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("*", ["a", "v1.0", "A_b-c"], []),
        ("v*", ["v", "v1", "v1.2.3"], ["V1", "av1"]),
        ("v?.?", ["v1.2"], ["v1.22", "v1", "v1x2"]),
        ("latest", ["latest"], ["latest1", "alatest", "LATEST"]),
        ("*-rc?", ["-rc1", "v1-rc2"], ["v1-rc", "v1-rc10"]),
        ("a*b*c", ["abc", "aXbXc", "abbcc"], ["acb", "ab"]),
        ("1.0", ["1.0"], ["1x0", "1.0\n"]),
    ],
)
def test_matching(pattern: str, matching: list[str], others: list[str]) -> None:
    """`*` is any characters, `?` is one, all else is itself; the whole tag is matched, in its letter case."""
    matches = compile_tag_patterns([pattern])
    assert [matches(tag) for tag in matching] == [pattern] * len(matching)
    assert [matches(tag) for tag in others] == [None] * len(others)


def test_the_first_pattern_is_told() -> None:
    """Of several patterns the first that matches is given; of none, none."""
    matches = compile_tag_patterns(["v1*", "v*", "latest"])
    assert [matches(tag) for tag in ("v1", "v2", "latest", "edge")] == ["v1*", "v*", "latest", None]
    assert compile_tag_patterns([])("v1") is None


@pytest.mark.parametrize("text", ["", "a b", "v[0-9]", "a/b", "ä", "v1\n", "x" * 129, "{a}", "a:b"])
def test_what_is_no_pattern(text: str) -> None:
    """What could match no tag, or looks like another language of patterns, is refused with what to write."""
    with pytest.raises(ValueError, match="is no pattern of tags: write at most 128 letters"):
        check_tag_pattern(text)
    with pytest.raises(ValueError, match="is no pattern of tags"):
        compile_tag_patterns(["v*", text])


@given(st.text("ab*?", min_size=1, max_size=8), st.text("ab", min_size=1, max_size=10))
def test_as_by_the_definition(pattern: str, tag: str) -> None:
    """The answer is that of the definition, tried letter by letter."""

    def defined(pattern: str, tag: str) -> bool:
        if not pattern:
            return not tag
        if pattern[0] == "*":
            return any(defined(pattern[1:], tag[start:]) for start in range(len(tag) + 1))
        return bool(tag) and pattern[0] in ("?", tag[0]) and defined(pattern[1:], tag[1:])

    assert (compile_tag_patterns([pattern])(tag) is not None) == defined(pattern, tag)


def test_no_pattern_takes_long() -> None:
    """A pattern of very many stars is answered for the longest tag: tried one by one, the ways would be endless."""
    assert compile_tag_patterns(["*a" * 63 + "*b"])("a" * 128) is None
