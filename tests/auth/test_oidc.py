"""Id tokens in the place of passwords, of an issuer that the test runs over real HTTP."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest

from cargohold.auth.grants import Grant, Grants
from cargohold.auth.oidc import LEEWAY, ClaimRule, IdTokens, Trust
from cargohold.auth.protocols import Subject, Unproved
from cargohold.auth.published_keys import DiscoveredKeys, JwksUrl
from cargohold.types.names import RepositoryName
from cargohold.types.operations import Permission
from tests.auth.idp import ACCESS, Issuer, SigningKey, compact, signed
from tests.auth.jobs import AUDIENCE, BOTH, FixedKeys, granted, proved

if TYPE_CHECKING:
    from collections.abc import Iterator


PULL, PUSH = Permission.PULL, Permission.PUSH
JOB = {
    "sub": "repo:Org/App:ref:refs/heads/main",
    "repository": "Org/App",
    "repository_owner": "Org",
    "ref": "refs/heads/main",
    "environment": "production",
}
RULE = ClaimRule({"repository_owner": "Org", "ref": "refs/heads/*"}, "org/**", BOTH)


@pytest.fixture
def idp() -> Iterator[Issuer]:
    with Issuer() as issuer:
        yield issuer


def trusting(idp: Issuer, *rules: ClaimRule, audience: str = AUDIENCE) -> IdTokens:
    return IdTokens([Trust(idp.url, audience, DiscoveredKeys(idp.url), rules or (RULE,))])


def test_job_proves_itself_by_its_id_token(idp: Issuer) -> None:
    """Its name is the `sub`, it may do what the rules say, and no longer than the token holds."""
    claims = idp.claims(AUDIENCE, **JOB)
    tokens = trusting(idp)
    found = proved(tokens, signed(idp.keys[0], claims))
    assert found is not None
    assert found.subject.kind == "workload"
    assert found.subject.name == JOB["sub"]
    assert found.until == claims["exp"] + LEEWAY  # type: ignore[operator]
    assert found.authority.allows(PUSH, RepositoryName("org/app/cache"))
    assert not found.authority.allows(PUSH, RepositoryName("other/app"))
    assert not found.authority.allows(Permission.DELETE, RepositoryName("org/app"))
    assert not found.authority.allows(Permission.CATALOG, None)
    assert idp.asked == [Issuer.DISCOVERY, Issuer.KEYS]


@pytest.mark.parametrize("name", ["", "ci", "oauth2accesstoken", "ann", "a:b"])
def test_any_user_name_goes_with_an_id_token(idp: Issuer, name: str) -> None:
    """Clients want a name beside the password; it says nothing, least of all who this is."""
    found = proved(trusting(idp), idp.token(AUDIENCE, **JOB), name)
    assert found is not None
    assert found.subject.name == JOB["sub"]


def test_keys_may_be_at_an_address_of_their_own(idp: Issuer) -> None:
    """Issuers without discovery publish a JWK set."""
    tokens = IdTokens([Trust(idp.url, AUDIENCE, JwksUrl(idp.keys_url), (RULE,))])
    assert granted(tokens, idp.token(AUDIENCE, **JOB)) == ["org/**"]
    assert idp.asked == [Issuer.KEYS]


def test_keys_rotate(idp: Issuer) -> None:
    """A token of a key that is new is verified, and the version tells that keys have changed."""
    now = 1000.0
    tokens = IdTokens([Trust(idp.url, AUDIENCE, DiscoveredKeys(idp.url, clock=lambda: now), (RULE,))])

    async def run() -> None:
        nonlocal now
        assert await tokens.prove("", idp.token(AUDIENCE, **JOB))
        version = tokens.version()
        idp.keys = [SigningKey("two", "ES256")]
        now += 30
        assert await tokens.prove("", idp.token(AUDIENCE, **JOB))
        assert tokens.version() != version

    asyncio.run(run())


def test_other_passwords_are_none_of_this_sort(idp: Issuer) -> None:
    """Passwords, robots' secrets and tokens of others are left to others, and the issuer hears nothing of them."""
    tokens = trusting(idp)
    elsewhere = idp.claims(AUDIENCE, **JOB, iss="https://evil.example.com")
    for password in (
        "",
        "secret",
        "a.b.c",
        "..",
        "a" * 2**20,
        "." * 2**20,
        "pass.word.é",
        signed(SigningKey(), elsewhere),
        signed(SigningKey(), {**elsewhere, "iss": None}),
        signed(SigningKey(), {**elsewhere, "iss": [idp.url]}),
        signed(SigningKey(), {**elsewhere, "iss": {"a": 1}}),
        idp.token(AUDIENCE, **JOB)[:-1] + "\n",
        idp.token(AUDIENCE, **JOB, own="a" * 2**14),
    ):
        assert asyncio.run(tokens.prove("ci", password)) is None
    assert idp.asked == []


def test_wrong_audience(idp: Issuer) -> None:
    """A token that the job got for another service is none for this registry."""
    assert proved(trusting(idp), idp.token("https://github.com/org", **JOB)) is None
    assert granted(trusting(idp), idp.token(["other", AUDIENCE], **JOB)) == ["org/**"]  # type: ignore[arg-type]


def test_expired_and_not_yet_valid(idp: Issuer) -> None:
    """A token is good for its time alone, give or take the leeway."""
    now = int(idp.claims(AUDIENCE)["iat"])  # type: ignore[call-overload]
    assert proved(trusting(idp), idp.token(AUDIENCE, **JOB, exp=now - 60)) is None
    assert proved(trusting(idp), idp.token(AUDIENCE, **JOB, nbf=now + 60)) is None
    assert proved(trusting(idp), idp.token(AUDIENCE, **JOB, iat=now + 60)) is None
    assert proved(trusting(idp), idp.token(AUDIENCE, **JOB, exp=None)) is None
    assert proved(trusting(idp), idp.token(AUDIENCE, **JOB, exp=now - 10))


def test_forged_signatures(idp: Issuer) -> None:
    """A token that another key signed, or none, or the public key as a secret, proves nothing."""
    claims = idp.claims(AUDIENCE, **JOB)
    tokens = trusting(idp)
    header = {"alg": "none", "typ": "JWT", "kid": "one"}
    for token in (
        signed(SigningKey(number=1), claims),
        signed(SigningKey("two"), claims),
        compact(header, claims, lambda _: b""),
        compact({**header, "alg": "RS256"}, claims, lambda _: b""),
        signed(SigningKey(number=1), claims, {"jwk": SigningKey(number=1).jwk}),
    ):
        assert proved(tokens, token) is None
    assert granted(tokens, signed(SigningKey(), claims)) == ["org/**"]


def test_registry_token_is_no_id_token(idp: Issuer) -> None:
    """A token that names accesses was made for a registry; it does not prove a job, though all else of it fits."""
    assert proved(trusting(idp), idp.token(AUDIENCE, **JOB, access=ACCESS)) is None
    assert proved(trusting(idp), idp.token(AUDIENCE, **JOB, access=[])) is None
    for kind in ("at+jwt", "logout+jwt"):
        assert proved(trusting(idp), signed(idp.keys[0], idp.claims(AUDIENCE, **JOB), {"typ": kind})) is None


@pytest.mark.parametrize("subject", [None, "", 5, "a\nb", ["a"]])
def test_token_without_a_subject(idp: Issuer, subject: object) -> None:
    """OpenID Connect Core, section 2: an id token has a `sub`; whoever pushes has a name in the log."""
    assert proved(trusting(idp), idp.token(AUDIENCE, **{**JOB, "sub": subject})) is None


def test_refusal_is_logged_with_its_reason(idp: Issuer, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever sets up a pipeline finds in the log why it is refused, and nobody finds a token there."""
    token = idp.token("other", **JOB)
    with caplog.at_level(logging.INFO):
        with pytest.raises(Unproved):  # and no other source is asked about it
            asyncio.run(trusting(idp).prove("ci", token))
        assert proved(trusting(idp), idp.token(AUDIENCE, sub="nobody")) is None
    assert f"an id token of {idp.url} was refused: the token is for another audience" in caplog.text
    assert "no rule gives anything to the bearer of its claims" in caplog.text
    assert not any(part in caplog.text for part in token.split("."))


def test_refusals_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Each reason is said once in ten seconds for each issuer, then with how many there were besides."""
    now = 2_000_000_000.0
    issuers = ["https://one.example.com", "https://two.example.com"]
    trusts = [Trust(issuer, AUDIENCE, FixedKeys(), (RULE,)) for issuer in issuers]
    tokens = IdTokens(trusts, clock=lambda: now)

    def refused(number: int, issuer: str, audience: str, lines: int) -> str:
        caplog.clear()
        token = compact({"alg": "RS256"}, {"iss": issuer, "aud": audience}, lambda _: b"")
        for _ in range(number):
            assert proved(tokens, token) is None
        assert len(caplog.records) == lines
        return caplog.text

    with caplog.at_level(logging.INFO):
        for issuer in issuers:
            assert "more" not in refused(500, issuer, "other", 1)
            assert "more" not in refused(500, issuer, AUDIENCE, 1)
        now += 9.9
        refused(3, issuers[0], "other", 0)
        now += 0.1
        said = f"an id token of {issuers[0]} was refused: the token is for another audience"
        assert f"{said} (and 502 more since this was last said)" in refused(1, issuers[0], "other", 1)
        now -= 3600  # a clock that was set back keeps nothing from being said
        assert "more" not in refused(1, issuers[0], "other", 1)


def test_rules_that_match_are_added_up(idp: Issuer) -> None:
    """Each rule whose claims all match gives its grants, whatever the others say."""
    tokens = trusting(
        idp,
        ClaimRule({"repository_owner": "Org"}, "org/**", frozenset({PULL})),
        ClaimRule({"repository_owner": "Other"}, "other/**", BOTH),
        ClaimRule({"repository": "*/*", "environment": "production"}, "{repository}", frozenset({PUSH})),
        ClaimRule({"repository": "Org/App"}, "{repository}", frozenset({PUSH})),
    )
    found = proved(tokens, idp.token(AUDIENCE, **JOB))
    assert found is not None
    assert found.authority == Grants(
        (Grant("org/**", frozenset({PULL})), Grant("org/app", frozenset({PUSH})))
    )


def test_subject_is_found_again_by_what_it_may_do(idp: Issuer) -> None:
    """What was issued to a job holds while the trust in its issuer is what it was, and no longer."""
    found = proved(trusting(idp), idp.token(AUDIENCE, **JOB))
    assert found is not None
    assert trusting(idp).authority(found.subject) == found.authority
    stranger = Trust(
        "https://other.example.com", AUDIENCE, DiscoveredKeys("https://other.example.com"), (RULE,)
    )
    for changed in (
        IdTokens([]),
        IdTokens([stranger]),
        trusting(idp, audience="other"),
        trusting(idp, ClaimRule(RULE.claims, "org/*", BOTH)),
        trusting(idp, ClaimRule(RULE.claims, "org/**", frozenset({PULL}))),
        trusting(idp, ClaimRule({**RULE.claims, "environment": "production"}, "org/**", BOTH)),
        trusting(idp, RULE, RULE),
    ):
        assert changed.authority(found.subject) is None
    both = IdTokens([stranger, Trust(idp.url, AUDIENCE, DiscoveredKeys(idp.url), (RULE,))])
    assert both.authority(found.subject) == found.authority


def test_other_subjects_are_none_of_this_sort(idp: Issuer) -> None:
    """A user, a robot, or a workload whose grants cannot be read has no authority here."""
    tokens = trusting(idp)
    found = proved(tokens, idp.token(AUDIENCE, **JOB))
    assert found is not None
    subject = found.subject
    for other in (
        Subject("user", subject.name, subject.key, subject.stamp),
        Subject("robot", subject.name, subject.key, subject.stamp),
        Subject("anonymous"),
        Subject("workload"),
        Subject("workload", subject.name, subject.key, ""),
        Subject("workload", subject.name, "[]x", subject.stamp),
        Subject("workload", subject.name, '[["ci/UPPER",["pull"]]]', subject.stamp),
        Subject("workload", subject.name, '[["**",["enter"]]]', subject.stamp),
    ):
        assert tokens.authority(other) is None


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [
        (ClaimRule({}, "org/**", BOTH), "names no claims"),
        (ClaimRule({"a": ""}, "org/**", BOTH), "is no pattern"),
        (ClaimRule({"a": "x**"}, "org/**", BOTH), "is no pattern"),
        (ClaimRule({"a": "x"}, "Org", BOTH), "is no pattern"),
        (ClaimRule({"a": "x"}, "", BOTH), "is no pattern"),
        (ClaimRule({"a": "x"}, "ci/{a", BOTH), "is no pattern"),
        (ClaimRule({"a": "x"}, "ci/{}", BOTH), "is no pattern"),
        (ClaimRule({"a": "x"}, "ci/{a}", frozenset({Permission.ENTER})), "cannot be granted"),
    ],
)
def test_rule_that_means_nothing_is_refused(rule: ClaimRule, complaint: str) -> None:
    """A rule that cannot be understood is an error when it is made, not when a job comes."""
    with pytest.raises(ValueError, match=complaint):
        IdTokens([Trust("https://ci.example.com", AUDIENCE, FixedKeys(), (rule,))])


def test_issuer_that_is_there_twice_is_refused() -> None:
    """Which of them is meant would be a matter of luck."""
    trust = Trust("https://ci.example.com", AUDIENCE, FixedKeys(), (RULE,))
    with pytest.raises(ValueError, match="twice"):
        IdTokens([trust, trust])
