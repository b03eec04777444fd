"""Tokens that the honest issuer has signed, and that say what they should not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cargohold.types.names import RepositoryName
from cargohold.types.operations import Permission
from tests.auth.idp import ACCESS, as_json, compact
from tests.auth.tokens import (
    AUDIENCE,
    HEADER,
    ISSUER,
    NOW,
    OURS,
    OURS_TOO,
    claims,
    refusal,
    trusting,
    verified,
    with_claims,
    with_header,
)

if TYPE_CHECKING:
    from pathlib import Path

    from cargohold.auth.bearer import ForeignTokens

ON_REPOSITORIES = (Permission.PULL, Permission.PUSH, Permission.DELETE)


@pytest.fixture
def tokens(tmp_path: Path) -> ForeignTokens:
    """A verifier that accepts the honest issuer's tokens."""
    return trusting(tmp_path, OURS, OURS_TOO)


@pytest.mark.parametrize(
    "issuer",
    [
        "https://evil.example.com",
        f"{ISSUER}/",
        ISSUER.upper(),
        f" {ISSUER}",
        f"{ISSUER}\0",
        "",
        5,
        [ISSUER],
        None,
    ],
)
def test_wrong_iss(tokens: ForeignTokens, issuer: object) -> None:
    """The issuer is the one that is configured, letter by letter."""
    assert "another issuer" in refusal(tokens, with_claims(iss=issuer))


@pytest.mark.parametrize(
    "audience",
    [
        "other.example.com",
        f"{AUDIENCE} other",
        f"{AUDIENCE}.evil.example.com",
        AUDIENCE.upper(),
        "",
        [],
        ["other.example.com", 5],
        [[AUDIENCE]],
        {AUDIENCE: True},
        True,
        "*",
        None,
    ],
)
def test_wrong_aud(tokens: ForeignTokens, audience: object) -> None:
    """A token for somebody else is none for us."""
    assert "another audience" in refusal(tokens, with_claims(aud=audience))


def test_aud_of_ten_thousand(tokens: ForeignTokens) -> None:
    """A list that is out of hand is too long before anything of it is read."""
    many = with_claims(aud=[f"a{number}" for number in range(10_000)] + [AUDIENCE])
    assert "at most" in refusal(tokens, many)


def test_expired(tokens: ForeignTokens) -> None:
    """A token that has ended, long ago or a moment more than clocks may differ, is refused."""
    for end in (1, NOW - 86400, NOW - 30, NOW - 30.001):
        assert refusal(tokens, with_claims(exp=end)) == "the token has expired"


def test_without_an_expiry(tokens: ForeignTokens) -> None:
    """A token that never ends cannot be taken back."""
    assert refusal(tokens, with_claims(exp=None)) == "the token has no expiry"
    null = compact(HEADER, {**claims(), "exp": None}, OURS.sign)
    assert refusal(tokens, null) == "the token has no expiry"


@pytest.mark.parametrize("name", ["nbf", "iat"])
def test_not_yet_valid(tokens: ForeignTokens, name: str) -> None:
    """A token from the future is refused until then."""
    assert refusal(tokens, with_claims(**{name: NOW + 31})) == "the token is not valid yet"
    assert refusal(tokens, with_claims(**{name: NOW + 10**9})) == "the token is not valid yet"


@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@pytest.mark.parametrize(
    "value", [True, "1900000000", "", [1900000000], {"a": 1}, -1, -0.5, 1e308, 10**30, 10**4000]
)
def test_times_that_are_none(tokens: ForeignTokens, name: str, value: object) -> None:
    """Times are numbers, no booleans and no strings, of seconds before the year 10000."""
    assert refusal(tokens, with_claims(**{name: value})) == f"the token's {name} is no time"


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400", "1" * 5000])
def test_times_that_are_no_numbers(tokens: ForeignTokens, number: str) -> None:
    """What JSON has no name for is no time, nor is what no float can hold."""
    text = as_json(claims()).replace(str(NOW + 300).encode(), number.encode())
    assert number.encode() in text
    assert refusal(tokens, compact(HEADER, text, OURS.sign)) in (
        "the token's exp is no time",
        "a part of the token is no JSON, or names a member twice",
    )


def test_token_for_another_repository(tokens: ForeignTokens) -> None:
    """A token that is valid for one repository opens no other, nor one whose name begins or ends like it."""
    identity, _ = verified(tokens, with_claims())
    assert identity.may(Permission.PULL, RepositoryName("org/app"))
    for name in ("org/apps", "org", "app", "org/app/x", "x/org/app", "org/ap", "org-app"):
        assert not any(identity.may(each, RepositoryName(name)) for each in ON_REPOSITORIES)


@pytest.mark.parametrize(
    "name", ["**", "*", "org/*", "org/**", "ORG/app", "org/../org/app", "org/app\n", "org/app/"]
)
def test_access_to_a_pattern(tokens: ForeignTokens, name: str) -> None:
    """A name in the access claim is a name, never a pattern."""
    access = [{"type": "repository", "name": name, "actions": ["*"]}]
    identity, _ = verified(tokens, with_claims(access=access))
    assert not any(identity.may(each, RepositoryName("org/app")) for each in ON_REPOSITORIES)


@pytest.mark.parametrize(
    "access",
    [
        [{"type": "repository", "name": "org/app", "actions": "pull,push"}],
        [{"type": "repository", "name": "org/app", "actions": {"pull": 1}}],
        [{"type": "repository", "name": ["org/app"], "actions": ["pull"]}],
        [{"type": ["repository"], "name": "org/app", "actions": ["pull"]}],
        [{"type": "Repository", "name": "org/app", "actions": ["pull"]}],
        [{"type": "repository", "name": "org/app", "actions": [["pull"], 5, None]}],
        [{"type": "repository", "name": "org/app", "actions": ["PULL", "enter", "catalog", "pull push"]}],
        [ACCESS],
    ],
)
def test_access_of_another_shape(tokens: ForeignTokens, access: object) -> None:
    """What is not written as the specification has it grants nothing."""
    identity, _ = verified(tokens, with_claims(access=access))
    assert not any(identity.may(each, RepositoryName("org/app")) for each in ON_REPOSITORIES)
    assert not identity.may(Permission.CATALOG)


@pytest.mark.parametrize("access", ["*", {"type": "repository"}, 5, True, False, 0, ""])
def test_access_that_is_no_list(tokens: ForeignTokens, access: object) -> None:
    """A malformed claim makes the token invalid."""
    assert refusal(tokens, with_claims(access=access)) == "the token's access is no list"


@pytest.mark.parametrize(
    "kind",
    ["logout+jwt", "dpop+jwt", "secevent+jwt", "JWE", "", 5, ["JWT"], "jwt ", "application/", "text/jwt"],
)
def test_token_made_for_something_else(tokens: ForeignTokens, kind: object) -> None:
    """RFC 8725, section 3.11: what is of another type is no token of ours, though the same key signed it."""
    assert "type" in refusal(tokens, with_header(typ=kind))


def test_id_token_used_as_registry_token(tokens: ForeignTokens) -> None:
    """An id token of the same issuer is for another audience; were it for ours, it would grant nothing."""
    own = {
        "nonce": "n",
        "auth_time": NOW,
        "repository": "org/app",
        "scope": "repository:org/app:*",
        "access": None,
    }
    assert "another audience" in refusal(tokens, with_claims(aud="a-client", **own))
    identity, _ = verified(tokens, with_claims(**own))
    assert not any(identity.may(each, RepositoryName("org/app")) for each in ON_REPOSITORIES)
