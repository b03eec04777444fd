"""Conditional requests (RFC 9110, 13)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cargohold.types.conditions import entity_tag, none_match, range_applies
from cargohold.types.digest import Digest

HERE, OTHER = Digest.of(b"here"), Digest.of(b"other")
TAG, OTHER_TAG = entity_tag(HERE), entity_tag(OTHER)


def test_an_entity_tag_is_the_digest_in_quotes() -> None:
    """So it is strong: equal for equal bytes, and for no others."""
    assert entity_tag(HERE) == f'"{HERE}"'
    assert entity_tag(HERE) != entity_tag(OTHER)


@pytest.mark.parametrize(
    "lines",
    [
        [TAG],
        [f"W/{TAG}"],
        [f"{OTHER_TAG}, {TAG}"],
        [f"{OTHER_TAG},{TAG}"],
        [OTHER_TAG, f" W/{TAG} "],
        ['"a,b"', TAG],
        ["*"],
        [" * "],
    ],
)
def test_what_the_client_has_is_not_sent(lines: list[str]) -> None:
    """If-None-Match: one of the tags is that of the content, compared weakly, or `*` stands for any."""
    assert not none_match(lines, HERE)


@pytest.mark.parametrize(
    "lines", [[], [""], [OTHER_TAG], [str(HERE)], [f'"{HERE}'], ['"*"'], [TAG.upper()], ["*, *"]]
)
def test_what_the_client_has_not_is_sent(lines: list[str]) -> None:
    """If-None-Match: no header, other tags, and what is no entity tag."""
    assert none_match(lines, HERE)


tags = st.lists(st.sampled_from([HERE, OTHER]).map(entity_tag), min_size=1, max_size=5)


@given(tags, st.sampled_from([", ", ",", " , ", ",,"]), st.booleans())
def test_a_tag_is_found_wherever_it_stands(asked: list[str], comma: str, weak: bool) -> None:
    """However a list is written, it matches exactly where the content's tag is a member."""
    line = comma.join(f"W/{tag}" if weak else tag for tag in asked)
    assert none_match([line], HERE) == (TAG not in asked)


@pytest.mark.parametrize("if_range", [None, TAG, f" {TAG} "])
def test_a_range_is_sent_of_what_the_client_has(if_range: str | None) -> None:
    """If-Range: absent, or the tag of the content."""
    assert range_applies(if_range, HERE)


@pytest.mark.parametrize(
    "if_range", ["", OTHER_TAG, f"W/{TAG}", str(HERE), "Sat, 21 Nov 2026 12:00:00 GMT", "*"]
)
def test_no_range_is_sent_of_anything_else(if_range: str) -> None:
    """If-Range: a weak tag, another one, a date: the whole is sent."""
    assert not range_applies(if_range, HERE)
