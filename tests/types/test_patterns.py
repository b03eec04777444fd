"""Patterns: what each matches, what is none, and what the worst of them cost."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cargohold.config import access
from cargohold.config.kinds import Misfit
from cargohold.types.patterns import check_pattern, compile_claim_pattern, compile_pattern, compile_patterns

if TYPE_CHECKING:
    from collections.abc import Callable

SEGMENTS = st.sampled_from(["a", "b", "ab", "*", "a*", "*b", "a*b", "*a*", "a*a*b", "**"])
PATTERNS = st.lists(SEGMENTS, min_size=1, max_size=6).map("/".join)
NAMES = st.lists(st.text("ab", min_size=1, max_size=5), min_size=1, max_size=6).map("/".join)


def matches_segment(pattern: str, text: str) -> bool:
    """By trying every length that a `*` may have."""
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(matches_segment(pattern[1:], text[length:]) for length in range(len(text) + 1))
    return text[:1] == pattern[0] and matches_segment(pattern[1:], text[1:])


def matches(pattern: list[str], segments: list[str]) -> bool:
    """By trying every number of segments that a `**` may be."""
    if not pattern:
        return not segments
    if pattern[0] == "**":
        return any(matches(pattern[1:], segments[count:]) for count in range(len(segments) + 1))
    if not segments or (pattern[0] == "*" and not segments[0]):
        return False
    return matches_segment(pattern[0], segments[0]) and matches(pattern[1:], segments[1:])


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("app", ["app"], ["ap", "apps", "my-app", "app/a", "a/app"]),
        ("org/app", ["org/app"], ["org", "app", "org/app/a", "a/org/app", "org-app"]),
        ("*", ["a", "app"], ["a/b", "a/b/c"]),
        ("*/*", ["a/b"], ["a", "a/b/c"]),
        ("org/*", ["org/a", "org/app"], ["org", "org/a/b", "orga/a"]),
        ("*/app", ["a/app"], ["app", "a/b/app", "a/app/b"]),
        ("org/*/app", ["org/a/app"], ["org/app", "org/a/b/app"]),
        ("**", ["a", "a/b", "a/b/c"], []),
        ("org/**", ["org", "org/a", "org/a/b/c"], ["orga", "orga/a", "or", "a/org"]),
        ("**/app", ["app", "a/app", "a/b/app"], ["app/a", "my-app", "a/my-app"]),
        (
            "org/**/app",
            ["org/app", "org/a/app", "org/a/b/app"],
            ["org", "app", "org/a", "orgapp", "org/app/a"],
        ),
        ("**/a/**", ["a", "a/b", "b/a", "b/a/b", "b/b/a/b/b"], ["b", "ab", "b/ab/b"]),
        ("**/**", ["a", "a/b"], []),
        ("**/*", ["a", "a/b", "a/b/c"], []),
        ("*/**/*", ["a/b", "a/b/c", "a/b/c/d"], ["a"]),
        ("**/a/**/b/**", ["a/b", "a/a/b", "x/a/y/b/z"], ["b/a", "a", "b"]),
        ("team-*", ["team-", "team-a", "team-a-b"], ["team", "my-team-a", "team-a/b"]),
        ("team-*/*", ["team-a/b"], ["team-a", "team-a/b/c", "team/b"]),
        ("*-ci", ["a-ci", "a-b-ci"], ["ci", "a-ci-b", "a/b-ci"]),
        ("a*b*c", ["abc", "axbxc", "abbcc", "abcbc"], ["ac", "acb", "ab", "abcd", "ab/c"]),
        ("a*a", ["aa", "aaa", "aba"], ["a", "ab"]),
        ("x*ab*bc", ["xabbc", "xaabxbc"], ["xabc", "xxabc"]),
        ("ab*ba", ["abba", "abxba"], ["aba", "ab", "ba"]),
        ("*a*a*", ["aa", "xaxax"], ["a", "xax"]),
        ("*a*/x", ["a/x", "bab/x"], ["b/x", "a"]),
        ("a.b_c-d", ["a.b_c-d"], ["axb_c-d", "a.bxc-d"]),
    ],
)
def test_pattern(pattern: str, matching: list[str], others: list[str]) -> None:
    """`*` is one segment, or any number of characters within one; `**` is any number of segments, none included."""
    allows = compile_pattern(pattern)
    assert [name for name in matching + others if allows(name)] == matching


@given(PATTERNS, NAMES)
@example("**/*a*/**/a*b", "a/b/ba/aab")
def test_what_trying_everything_finds(pattern: str, name: str) -> None:
    """A pattern matches where some way to fill its stars gives the name."""
    assert compile_pattern(pattern)(name) is matches(pattern.split("/"), name.split("/"))


@given(st.lists(PATTERNS, max_size=8), NAMES)
def test_many_at_once(patterns: list[str], name: str) -> None:
    """Each pattern of a set has its bit, which is set where that pattern alone matches too."""
    alone = sum(compile_pattern(pattern)(name) << bit for bit, pattern in enumerate(patterns))
    assert compile_patterns(patterns)(name) == alone


@given(st.text("a*/._-A é\n", max_size=8))
@example("")
@example("a/")
@example("a\n")
def test_what_is_no_pattern(text: str) -> None:
    """What the settings refuse is refused, and nothing else is."""
    try:
        access.check_pattern(text)
    except Misfit:
        with pytest.raises(ValueError, match="is no pattern of repositories: write segments"):
            check_pattern(text)
        with pytest.raises(ValueError, match="is no pattern of repositories"):
            compile_pattern(text)
    else:
        check_pattern(text)


@pytest.mark.parametrize(
    "text", ["", "/", "a//b", "/a", "a/", "***", "a**", "**a", "a/**b/c", "A", "a b", "a{x}", "ä"]
)
def test_no_pattern(text: str) -> None:
    """An empty segment, a `**` within one, and a character that no repository has are refused, whoever asks."""
    with pytest.raises(ValueError, match="is no pattern of repositories"):
        compile_patterns(["a", text])


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        (
            "refs/heads/*",
            ["refs/heads/main", "refs/heads/A b"],
            ["refs/heads/a/b", "refs/heads/", "refs/tags/v1"],
        ),
        ("refs/**", ["refs", "refs/heads/a/b", "refs/"], ["ref", "Refs/heads"]),
        ("Org/Repo", ["Org/Repo"], ["org/repo", "Org/Repo\n"]),
        ("repo:Org/*:ref:*", ["repo:Org/app:ref:main"], ["repo:Org/app:ref:refs/heads/main"]),
        ("a.c", ["a.c"], ["abc"]),
        ("**", ["", "a", "a/b", "/", "a\nb"], []),
        ("*", ["a", "a\nb"], ["", "a/b", "/"]),
        ("a//b", ["a//b"], ["a/b", "a/x/b"]),
    ],
)
def test_claim_pattern(pattern: str, matching: list[str], others: list[str]) -> None:
    """The stars mean the same where the characters are any, and every other character means itself."""
    holds = compile_claim_pattern(pattern)
    assert [text for text in matching + others if holds(text)] == matching


@given(PATTERNS, NAMES)
def test_claim_patterns_are_patterns(pattern: str, name: str) -> None:
    """A pattern of repositories, taken for one of claims, matches the same."""
    assert compile_claim_pattern(pattern)(name) is compile_pattern(pattern)(name)


@pytest.mark.parametrize("text", ["", "***", "a**", "refs/**x"])
def test_no_claim_pattern(text: str) -> None:
    """A claim's pattern is refused where it is empty, or has a `**` within a segment."""
    with pytest.raises(ValueError, match="is no pattern: it is empty"):
        compile_claim_pattern(text)


def calls_in(action: Callable[[], object]) -> int:
    """How many functions an action calls, those of the interpreter included."""
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        action()
    finally:
        sys.setprofile(before)
    return calls


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("/".join(["**", "a"] * 60 + ["b"]), "/".join(["a"] * 128)),
        ("/".join(["**"] * 120 + ["b"]), "/".join(["a"] * 128)),
        ("/".join(["**", "*"] * 60 + ["b"]), "/".join(["a"] * 128)),
        ("/".join(["**", "*a*a*"] * 30 + ["b"]), "/".join(["aaaa"] * 51)),
        ("*a" * 120 + "*b", "a" * 255),
        ("a*" * 120 + "b", "a" * 255),
        ("*aab" * 50 + "*b", "aa" * 127),
        ("/".join(["*a*a*a*b"] * 8), "/".join(["a" * 31] * 8)),
        ("**/" + "*a" * 60 + "*b/**/c", "/".join(["a" * 125] * 2)),
    ],
)
def test_hostile_patterns(pattern: str, name: str) -> None:
    """No pattern makes a match dear: its steps are no more than the pattern is long times the name is long."""
    matching = compile_pattern(pattern)
    assert len(name) <= 255
    assert not matching(name)
    assert calls_in(lambda: matching(name)) <= len(pattern) * len(name)


def test_a_long_pattern() -> None:
    """A pattern may be far longer than any name."""
    assert not compile_pattern("/".join(["a"] * 20_000))("a/a")
    assert compile_pattern("/".join(["**"] * 2_000))("a/a")
