"""Negotiation (RFC 9110, 12.5.1)."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cargohold.types.accept import Accept, _parse
from cargohold.types.oci import (
    DOCKER_MANIFEST,
    DOCKER_MANIFEST_LIST,
    DOCKER_SCHEMA1_SIGNED,
    MANIFEST_TYPES,
    OCI_INDEX,
    OCI_MANIFEST,
)

EVERY_TYPE = [*sorted(MANIFEST_TYPES), DOCKER_SCHEMA1_SIGNED]


def taken(*lines: str) -> list[str]:
    accept = Accept.parse(lines)
    return [media_type for media_type in EVERY_TYPE if accept.allows(media_type)]


@pytest.mark.parametrize(
    "lines", [(), ("",), ("*/*",), ("*",), (" ", "\t"), ("application/*",), (OCI_INDEX, "*/*")]
)
def test_everything_is_taken_where_nothing_is_asked(lines: tuple[str, ...]) -> None:
    """No header, an empty one, and a wildcard take every type."""
    assert taken(*lines) == EVERY_TYPE


@pytest.mark.parametrize(
    "lines",
    [
        (f"{OCI_MANIFEST}, {DOCKER_MANIFEST}",),
        (f"{OCI_MANIFEST},{DOCKER_MANIFEST}",),
        (OCI_MANIFEST, DOCKER_MANIFEST),
        (f"{OCI_MANIFEST.upper()};Q=0.5;x=1 , ,{DOCKER_MANIFEST} ; charset=utf-8 ; q=0.001",),
        (f'{OCI_MANIFEST};profile="a,b;q=0", text/html, {DOCKER_MANIFEST};',),
        (f"{OCI_MANIFEST};q=0", DOCKER_MANIFEST, OCI_MANIFEST),
        (f"{OCI_INDEX};q=0, {DOCKER_MANIFEST_LIST};q=0.000, application/json, application/*;q=0",),
    ],
)
def test_the_types_that_are_asked_for_are_taken(lines: tuple[str, ...]) -> None:
    """In one line or several, in any case, with any parameters; a type that is not named is not taken."""
    assert taken(*lines) == [DOCKER_MANIFEST, OCI_MANIFEST]


def test_the_most_specific_range_decides() -> None:
    """A type over `application/json`, that over `application/*`, that over `*/*`, in whatever order they come."""
    assert taken(f"*/*, {OCI_INDEX};q=0") == [t for t in EVERY_TYPE if t != OCI_INDEX]
    assert taken(f"{OCI_INDEX}, application/*;q=0, */*") == [OCI_INDEX]
    assert taken("application/*;q=0, */*") == []
    assert taken("application/json;q=0, application/*") == [DOCKER_SCHEMA1_SIGNED]
    assert taken(f"application/json, {OCI_INDEX};q=0") == [
        t for t in EVERY_TYPE if t.endswith("+json") and t != OCI_INDEX
    ]


def test_json_is_what_ends_in_json() -> None:
    """`application/json` takes the `+json` types of `application`, and no other."""
    accept = Accept.parse(["application/json"])
    assert accept.allows("application/vnd.example+json")
    assert accept.allows("Application/JSON")
    assert not accept.allows("application/vnd.example+prettyjws")
    assert not accept.allows("application/vnd.json")
    assert not accept.allows("image/svg+json")
    assert not accept.allows("application/octet-stream")


@pytest.mark.parametrize(
    "malformed",
    [
        "text",
        "*/json",
        "a/",
        "/b",
        "a//b",
        "a/b c/d",
        "a/b;q=x",
        "a/b;q=",
        "a/b;q",
        "a/b;q=-1",
        "a/b;q=1.0.0",
        'a/b;p="',
        'a/b;p="x\\',
        "a/b;=1",
        "a/b;p =1",
        "a/b;q=0x0",
        "(a/b)",
        "a/b;\u00e9=1",
        "\x00",
        ";q=0",
        "a/b;q=.",
    ],
)
def test_malformed_members_do_not_count(malformed: str) -> None:
    """Beside a member that is well formed they change nothing; alone they ask for nothing."""
    assert taken(f"{OCI_INDEX}, {malformed}") == [OCI_INDEX]
    assert taken(malformed) == EVERY_TYPE


def test_what_old_java_clients_send_is_understood() -> None:
    """A lone `*` and weights without a leading zero are no reason for a 406."""
    assert taken("text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2") == EVERY_TYPE
    assert taken("*;q=.0") == []


def test_only_short_headers_are_remembered() -> None:
    """Lines of 2 KB or more are parsed each time, so that nobody fills the memory with them."""
    long = f"{OCI_INDEX}, x/{'y' * 2048}"
    before = _parse.cache_info()
    assert taken(long) == [OCI_INDEX]
    after = _parse.cache_info()
    assert (after.currsize, after.misses, after.hits) == (before.currsize, before.misses, before.hits)
    assert after.maxsize == 256
    assert Accept.parse([OCI_INDEX]) is Accept.parse((OCI_INDEX,))


@pytest.mark.parametrize(
    "header",
    [
        '"' * 65535,
        '"\\' * 32000,
        '"\\"' * 20000,
        'a/b;p="' + '\\"' * 30000,
        "a/b" + ";" * 60000,
        "a/b;q" + "=" * 60000,
        " " * 65000,
        "a/" * 30000,
        "a/b;" + " " * 60000 + "\x00",
        ',"' * 30000,
    ],
)
def test_hostile_headers_ask_for_nothing_that_is_here(header: str) -> None:
    """Whatever is repeated, the header is read to its end; the limit of a test shows if that is not once."""
    assert taken(f"{header}\0") == EVERY_TYPE


class Member(NamedTuple):
    """A member of the header, in its parts."""

    range: str
    before: str
    weight: str | None
    after: str

    def __str__(self) -> str:
        weight = "" if self.weight is None else f";q={self.weight}"
        return f"{self.range}{self.before}{weight}{self.after}"


members = st.lists(
    st.builds(
        Member,
        range=st.sampled_from(
            [*EVERY_TYPE, "application/json", "application/*", "*/*", "text/*", "text/html"]
        ),
        before=st.sampled_from(["", ";a=1", ' ; a="q=0, */*;q=1"', ";a"]),
        weight=st.sampled_from([None, "0", "0.0", "0.000", "0.001", "0.5", "1", "1.000"]),
        after=st.sampled_from(["", ";b=2", " ", ";q=0"]),
    ),
    min_size=1,
    max_size=6,
)


def naive(asked: list[Member], media_type: str) -> bool:
    json = ["application/json"] if media_type.endswith("+json") else []
    for wanted in (media_type, *json, "application/*", "*/*"):
        weights = [weight_of(member) for member in asked if member.range == wanted]
        if weights:
            return max(weights) > 0
    return False


def weight_of(member: Member) -> float:
    if member.weight is None:
        return 0 if member.after == ";q=0" else 1
    return float(member.weight)


@given(members, st.sampled_from(EVERY_TYPE), st.data())
def test_negotiation_is_that_of_a_naive_reader(
    asked: list[Member], media_type: str, data: st.DataObject
) -> None:
    """For every list of members, however cut into lines: the first kind of range that matches decides."""
    cut = data.draw(st.integers(0, len(asked)))
    lines = [", ".join(map(str, asked[:cut])), ",".join(map(str, asked[cut:]))]
    assert Accept.parse(lines).allows(media_type) == naive(asked, media_type)


@given(
    st.lists(st.text(st.sampled_from('ab/*+-,;q=01. "\\\t\0\u00e9')), max_size=3), st.sampled_from(EVERY_TYPE)
)
def test_any_lines_are_read(lines: list[str], media_type: str) -> None:
    """Whatever a client sends, the answer is yes or no; and yes where no range was understood."""
    accept = Accept.parse(lines)
    assert accept.allows(media_type) or accept.ranges
