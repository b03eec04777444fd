"""What registries ask for, as they write it."""

from __future__ import annotations

import pytest

from cargohold.cli.remote.challenges import Challenge, choose, parse_challenges

BEARER = Challenge("bearer", {"realm": "https://a/token", "service": "a", "scope": "repository:x:pull,push"})


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (['Basic realm="a b"'], [Challenge("basic", {"realm": "a b"})]),
        (['BASIC Realm=a,charset="UTF-8"'], [Challenge("basic", {"realm": "a", "charset": "UTF-8"})]),
        (['Bearer realm="https://a/token",service="a",scope="repository:x:pull,push"'], [BEARER]),
        (
            ['Basic realm="a", Bearer realm="b" , service="c"'],
            [Challenge("basic", {"realm": "a"}), Challenge("bearer", {"realm": "b", "service": "c"})],
        ),
        (
            ["Negotiate", 'Bearer realm="b"'],
            [Challenge("negotiate", {}), Challenge("bearer", {"realm": "b"})],
        ),
        ([r'Bearer realm="a\"b\\c"'], [Challenge("bearer", {"realm": r"a\"b\c".replace('\\"', '"')})]),
        (["", ",", '"'], []),
        (['realm="a"'], []),
    ],
)
def test_parsed(lines: list[str], found: list[Challenge]) -> None:
    """Several challenges may share a line, and several lines there are; names are of any case, values may be quoted."""
    assert parse_challenges(lines) == found


def test_chosen() -> None:
    """Bearer comes before Basic, and what is unknown counts for nothing."""
    basic = Challenge("basic", {})
    assert choose([basic, BEARER]) == BEARER
    assert choose([Challenge("negotiate", {}), basic]) == basic
    assert choose([Challenge("negotiate", {})]) is None
