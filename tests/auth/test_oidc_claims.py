"""What the claims of an id token are worth: which rules they match, and where they may stand in a name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cargohold.auth.oidc import ClaimRule, IdTokens, Trust
from cargohold.types.errors import NameInvalid
from cargohold.types.names import RepositoryName
from tests.auth.idp import SigningKey, signed
from tests.auth.jobs import AUDIENCE, BOTH, FixedKeys, granted

if TYPE_CHECKING:
    from collections.abc import Mapping


CLAIMS = [
    # pattern, what the claim is, whether it matches
    ("Org", "Org", True),
    ("Org", "org", False),
    ("Org", "Organization", False),
    ("Org", "AnOrg", False),
    ("Org", "Org\n", False),
    ("Org", " Org", False),
    ("Org", "Org\0", False),
    ("Org", "Org/", False),
    ("Org/*", "Org/app", True),
    ("Org/*", "Org/app/more", False),
    ("Org/*", "Org/", False),
    ("Org/*", "Org", False),
    ("Org/*", "Evil/Org/app", False),
    ("Org/**", "Org/app/more", True),
    ("refs/heads/*", "refs/heads/main", True),
    ("refs/heads/*", "refs/heads/feature/x", False),
    ("refs/heads/**", "refs/heads/feature/x", True),
    ("refs/heads/release-*", "refs/heads/release-1.2", True),
    ("refs/heads/*", "refs/tags/v1", False),
    ("refs/heads/main", "refs/heads/**", False),
    ("refs/heads/main", "refs/heads/*", False),
    ("*", "anything at all", True),
    ("*", "", False),
    ("**", "", True),
    ("true", True, True),
    ("true", "true", True),
    ("true", False, False),
    ("True", True, False),
    ("true", 1, False),
    ("1", True, False),
    ("123", 123, True),
    ("123", 123.0, False),
    ("123.5", 123.5, True),
    ("1*", 10**30, True),
    ("admins", ["users", "admins"], True),
    ("admins", ["users"], False),
    ("admins", [], False),
    ("admins", [["admins"]], False),
    ("7", [1, 7], True),
    ("**", None, False),
    ("**", {}, False),
    ("**", {"a": "b"}, False),
    ("**", [None, {}], False),
    ("null", None, False),
]


@pytest.mark.parametrize(("pattern", "value", "matches"), CLAIMS)
def test_claim_matches_its_pattern(pattern: str, value: object, matches: bool) -> None:
    """The whole value matches, in its own case; a list where one member does; numbers and booleans as JSON has them."""
    assert (_grants({"claim": pattern}, "org/app", {"claim": value}) == ["org/app"]) is matches


def test_claim_that_is_missing_matches_nothing() -> None:
    """`**` stands for any value, not for none."""
    assert _grants({"claim": "**"}, "org/app", {"clain": "x"}) is None


@pytest.mark.parametrize(
    ("path", "claims", "matches"),
    [
        ("a.b", {"a": {"b": "x"}}, True),
        ("a.b.c", {"a": {"b": {"c": "x"}}}, True),
        ("a.b", {"a.b": "x"}, True),
        ("a.b", {"a.b": "y", "a": {"b": "x"}}, False),
        ("kubernetes.io.namespace", {"kubernetes.io": {"namespace": "x"}}, True),
        ("a.b", {"a": {"c": "x"}}, False),
        ("a.b", {"a": "x"}, False),
        ("a.b", {"a": [{"b": "x"}]}, False),
        ("a.b", {"b": "x"}, False),
        ("a", {"a": {"b": "x"}}, False),
        ("", {"": "x"}, True),
        (".", {"": {"": "x"}}, True),
    ],
)
def test_claim_within_another_is_named_by_its_path(
    path: str, claims: dict[str, object], matches: bool
) -> None:
    """`a.b` is the claim b of the object a; a claim whose own name has dots goes first."""
    assert (_grants({path: "x"}, "org/app", claims) == ["org/app"]) is matches


def test_all_claims_of_a_rule_must_match() -> None:
    """One claim that does not match is enough to have nothing."""
    rule = {"owner": "org", "ref": "refs/heads/main"}
    assert _grants(rule, "org/**", {"owner": "org", "ref": "refs/heads/main"}) == ["org/**"]
    assert _grants(rule, "org/**", {"owner": "org", "ref": "refs/heads/other"}) is None
    assert _grants(rule, "org/**", {"owner": "org"}) is None


PLACES = [
    # the rule's claims, its repository, the token's claims, what is granted
    ({"p": "*"}, "ci/{p}", {"p": "app"}, "ci/app"),
    ({"p": "*"}, "ci/{p}/**", {"p": "App.x_y-z"}, "ci/app.x_y-z/**"),
    ({"p": "*"}, "ci/x-{p}-y/*", {"p": "a"}, "ci/x-a-y/*"),
    ({"p": "*"}, "{p}/{p}", {"p": "a"}, "a/a"),
    ({"p": "*"}, "ci/{q}", {"p": "a", "q": "b"}, "ci/b"),
    ({"p": "*"}, "ci/{q.r}", {"p": "a", "q": {"r": "b"}}, "ci/b"),
    ({"p": "*"}, "ci/{p}", {"p": 42}, "ci/42"),
    # A slash where the rule's own pattern foresees one, and nowhere else.
    ({"p": "org/*"}, "{p}", {"p": "org/app"}, "org/app"),
    ({"p": "org/**"}, "mirror/{p}/**", {"p": "org/a/b"}, "mirror/org/a/b/**"),
    ({"p": "**"}, "ci/{p}", {"p": "a/b"}, "ci/a/b"),
    ({"q": "*"}, "ci/{p}", {"p": "a/b", "q": "x"}, None),
    ({"q": "*"}, "ci/{p}/**", {"p": "a/b", "q": "x"}, None),
    # What would be a pattern, or lead elsewhere, or is no name.
    ({"p": "**"}, "ci/{p}", {"p": "**"}, None),
    ({"p": "**"}, "ci/{p}", {"p": "*"}, None),
    ({"p": "**"}, "ci/{p}", {"p": "a*"}, None),
    ({"p": "**"}, "ci/{p}", {"p": "a/**"}, None),
    ({"p": "**"}, "ci/{p}", {"p": "**/a"}, None),
    ({"p": "**"}, "ci/{p}", {"p": ".."}, None),
    ({"p": "**"}, "ci/{p}", {"p": "../prod"}, None),
    ({"p": "**"}, "ci/{p}", {"p": "a/../../prod"}, None),
    ({"p": "**"}, "ci/{p}", {"p": "."}, None),
    ({"p": "**"}, "ci/{p}", {"p": ""}, None),
    ({"p": "**"}, "ci/{p}", {"p": "/"}, None),
    ({"p": "**"}, "ci/{p}", {"p": "/a"}, None),
    ({"p": "**"}, "ci/{p}", {"p": "a/"}, None),
    ({"p": "**"}, "ci/{p}", {"p": "a//b"}, None),
    ({"p": "**"}, "{p}/x", {"p": ""}, None),
    ({"p": "**"}, "ci/{p}", {"p": "a\n"}, None),
    ({"p": "**"}, "ci/{p}", {"p": "a b"}, None),
    ({"p": "**"}, "ci/{p}", {"p": "a\0"}, None),
    ({"p": "**"}, "ci/{p}", {"p": "a:b"}, None),
    ({"p": "**"}, "ci/{p}", {"p": "a@b"}, None),
    ({"p": "**"}, "ci/{p}", {"p": "%2e%2e"}, None),
    ({"p": "**"}, "ci/{p}", {"p": "{q}", "q": "**"}, None),
    ({"p": "**"}, "ci/{p}", {"p": "a" * 256}, None),
    # Letters that become others when they are lowered: the Kelvin sign is no k.
    ({"p": "**"}, "ci/{p}", {"p": "\u212aube"}, None),
    ({"p": "**"}, "ci/{p}", {"p": "\uff4f\uff52\uff47"}, None),
    ({"p": "**"}, "ci/{p}", {"p": "café"}, None),
    ({"p": "**"}, "ci/{p}", {"p": "İ"}, None),
    # Claims that are missing, or are no single value.
    ({"q": "*"}, "ci/{p}", {"q": "x"}, None),
    ({"q": "*"}, "ci/{p}", {"q": "x", "p": None}, None),
    ({"p": "*"}, "ci/{p}", {"p": ["a"]}, None),
    ({"p": "*"}, "ci/{p}", {"p": ["a", "b"]}, None),
    ({"q": "*"}, "ci/{p}", {"q": "x", "p": {"a": "b"}}, None),
    ({"p": "*"}, "ci/{p}", {"p": True}, None),
    ({"p": "*"}, "ci/{p}", {"p": 1.5}, None),
    ({"p": "*"}, "ci/{p}", {"p": -1}, None),
]


@pytest.mark.parametrize(("rule", "repository", "claims", "pattern"), PLACES)
def test_claim_takes_its_place_in_a_repository(
    rule: dict[str, str], repository: str, claims: dict[str, object], pattern: str | None
) -> None:
    """A value is in lower case a valid name, or a segment of one, and never a pattern; else the rule gives nothing."""
    assert _grants(rule, repository, claims) == (None if pattern is None else [pattern])


@example(value="**")
@example(value="../prod")
@example(value="prod/app")
@given(
    value=st.text(max_size=30)
    | st.lists(st.sampled_from(["a", "B", "prod", "*", "**", ".", "..", "", "/", "-", "_", "\u212a"])).map(
        "".join
    )
)
def test_no_value_widens_what_a_rule_gives(value: str) -> None:
    """Whatever a claim says, the grant is for one repository, below the place that the rule names."""
    for claims, segments in (({"p": "**"}, None), ({"q": "x"}, 2)):
        patterns = _grants(claims, "ci/{p}", {"p": value, "q": "x"})
        if patterns is not None:
            (pattern,) = patterns
            assert RepositoryName(pattern) == f"ci/{value.lower()}"
            assert segments is None or pattern.count("/") == segments - 1
        else:
            with pytest.raises(NameInvalid):
                RepositoryName(_lowered(value, one=segments is not None))


def _lowered(value: str, *, one: bool) -> str:
    """The value as a name that is valid where it may take its place, and only there."""
    return value.lower() if value.isascii() and not (one and "/" in value) else ""


def _grants(rule: Mapping[str, str], repository: str, claims: dict[str, Any]) -> list[str] | None:
    """The patterns that a token with these claims is granted by one rule; None where it is refused."""
    now = 1_800_000_000
    trust = Trust("https://ci.example.com", AUDIENCE, FixedKeys(), (ClaimRule(rule, repository, BOTH),))
    whole = {"iss": trust.issuer, "aud": AUDIENCE, "sub": "a job", "exp": now, **claims}
    return granted(IdTokens([trust], clock=lambda: now), signed(SigningKey(), whole))
