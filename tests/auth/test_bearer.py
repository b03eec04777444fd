"""Tokens of another token service, as they should be; what attackers make of them is in test_bearer_attacks."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from cargohold.auth.bearer import ForeignTokens
from cargohold.auth.identity import Kind, Sight
from cargohold.auth.jwks import ALGORITHMS
from cargohold.auth.key_files import JwksFile, PemKeys
from cargohold.auth.protocols import Unproved
from cargohold.auth.published_keys import JwksUrl
from cargohold.types.names import RepositoryName
from cargohold.types.operations import Permission
from tests.auth.idp import Issuer, SigningKey, jwks, signed
from tests.auth.tokens import (
    AUDIENCE,
    ISSUER,
    LEEWAY,
    NOW,
    claims,
    refusal,
    service,
    verified,
)

if TYPE_CHECKING:
    from pathlib import Path


PULL, PUSH, DELETE, CATALOG, ENTER = (
    Permission.PULL,
    Permission.PUSH,
    Permission.DELETE,
    Permission.CATALOG,
    Permission.ENTER,
)
APP, OTHER = RepositoryName("org/app"), RepositoryName("org/other")


@pytest.fixture
def keys(tmp_path: Path) -> JwksFile:
    path = tmp_path / "keys"
    path.write_bytes(jwks(SigningKey()))
    return JwksFile(str(path))


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_token_is_verified_by_each_algorithm(tmp_path: Path, algorithm: str) -> None:
    """RS*, PS*, ES256, ES384 and EdDSA, against a PEM key, a certificate, and a JWK set."""
    signer = SigningKey(algorithm=algorithm)
    path = tmp_path / "keys"
    path.write_bytes(jwks(signer))
    identity, until = verified(service(JwksFile(str(path))), signed(signer, claims()))
    assert (identity.kind, identity.name, until) == (Kind.TOKEN, "ann", NOW + 300 + LEEWAY)
    path.write_bytes(signer.pem)
    unnamed = SigningKey(None, algorithm)
    assert verified(service(PemKeys(str(path))), signed(unnamed, claims()))[0].name == "ann"
    named = SigningKey(signer.key.thumbprint(), algorithm)
    assert verified(service(PemKeys(str(path))), signed(named, claims()))[0].name == "ann"


def test_token_is_verified_against_a_certificate(tmp_path: Path) -> None:
    """A certificate is a form of the key: that it has ended takes nothing from it."""
    path = tmp_path / "keys"
    path.write_bytes(SigningKey().certificate())
    assert verified(service(PemKeys(str(path))), signed(SigningKey(None), claims()))[0].name == "ann"


def test_token_is_verified_against_published_keys_as_they_rotate() -> None:
    """A key that the service began to use after the registry's start needs nobody's hand."""
    old, new = SigningKey("old"), SigningKey("new", "ES256")
    with Issuer(old) as idp:

        async def run() -> None:
            now = 1000.0
            tokens = service(JwksUrl(idp.keys_url, clock=lambda: now))
            await tokens.verify(signed(old, claims()))
            idp.keys = [new]
            now += 30
            version = tokens.version()
            await tokens.verify(signed(new, claims()))
            assert tokens.version() != version
            with pytest.raises(Unproved):
                await tokens.verify(signed(old, claims()))

        asyncio.run(run())


def test_access_claim_is_all_that_a_bearer_may_do(keys: JwksFile) -> None:
    """The token names its accesses; its bearer may enter and do those, and nothing else."""
    identity, _ = verified(service(keys), signed(SigningKey(), claims()))
    assert [identity.may(each, APP) for each in (PULL, PUSH, DELETE)] == [True, True, False]
    assert [identity.may(each, OTHER) for each in (PULL, PUSH, DELETE)] == [False, False, False]
    assert identity.may(ENTER)
    assert not identity.may(CATALOG)
    assert Sight(identity.authority)(APP)
    assert not Sight(identity.authority)(OTHER)


def test_every_action_and_the_catalog_are_granted_by_a_star(keys: JwksFile) -> None:
    """`*` is all that can be done to a repository; of the registry it is the catalog."""
    access = [
        {"type": "repository", "name": "org/app", "actions": ["*"]},
        {"type": "registry", "name": "catalog", "actions": ["*"]},
    ]
    identity, _ = verified(service(keys), signed(SigningKey(), claims(access=access)))
    assert all(identity.may(each, APP) for each in (PULL, PUSH, DELETE))
    assert identity.may(CATALOG)
    assert not identity.may(PULL, OTHER)


@pytest.mark.parametrize("access", [None, [], [{"type": "repository", "name": "org/app"}], ["org/app"], [5]])
def test_token_without_accesses_may_only_enter(keys: JwksFile, access: object) -> None:
    """What `docker login` gets is a token for nothing; entries that are not understood give nothing either."""
    identity, _ = verified(service(keys), signed(SigningKey(), claims(access=access)))
    assert identity.may(ENTER)
    assert not any(identity.may(each, APP) for each in (PULL, PUSH, DELETE))


def test_anonymous_token_has_no_name(keys: JwksFile) -> None:
    """Docker's token specification: `sub` is empty where nobody is signed in."""
    for subject in ("", None):
        assert verified(service(keys), signed(SigningKey(), claims(sub=subject)))[0].name == ""


def test_audience_may_be_one_of_several(keys: JwksFile) -> None:
    """RFC 7519, section 4.1.3: `aud` is a string or a list of strings."""
    for audience in ([AUDIENCE], ["other", AUDIENCE], [f"a{number}" for number in range(1000)] + [AUDIENCE]):
        assert verified(service(keys), signed(SigningKey(), claims(aud=audience)))[0].name == "ann"


@pytest.mark.parametrize("kind", ["JWT", "jwt", "at+jwt", "application/at+jwt", "AT+JWT", None])
def test_type_is_that_of_a_token_or_not_said(keys: JwksFile, kind: str | None) -> None:
    """RFC 7519, section 5.1: `typ` is compared in any case, and may be absent."""
    assert verified(service(keys), signed(SigningKey(), claims(), {"typ": kind}))[0].name == "ann"


def test_clocks_may_be_apart_by_the_leeway(keys: JwksFile) -> None:
    """A token is good for as long after its end, and before its beginning, as clocks may differ; no second longer."""
    tokens = service(keys)
    verified(tokens, signed(SigningKey(), claims(exp=NOW - LEEWAY + 1)))
    assert refusal(tokens, signed(SigningKey(), claims(exp=NOW - LEEWAY))) == "the token has expired"
    for name in ("nbf", "iat"):
        verified(tokens, signed(SigningKey(), claims(**{name: NOW + LEEWAY})))
        late = signed(SigningKey(), claims(**{name: NOW + LEEWAY + 1}))
        assert refusal(tokens, late) == "the token is not valid yet"


def test_expiry_is_what_the_answer_holds_until(keys: JwksFile) -> None:
    """Whoever remembers an identity forgets it when its token would no longer be accepted."""
    _, until = verified(service(keys), signed(SigningKey(), claims(exp=NOW + 7.5)))
    assert until == NOW + 7.5 + LEEWAY
    verified(service(keys, clock=lambda: until - 0.001), signed(SigningKey(), claims(exp=NOW + 7.5)))
    late = service(keys, clock=lambda: until)
    assert refusal(late, signed(SigningKey(), claims(exp=NOW + 7.5))) == "the token has expired"


def test_the_clock_is_that_of_the_machine(keys: JwksFile) -> None:
    """Unless told otherwise, time is the time."""
    tokens = ForeignTokens(keys, issuer=ISSUER, audience=AUDIENCE, algorithms=["RS256"], leeway=0)
    now = time.time()
    verified(tokens, signed(SigningKey(), claims(nbf=now - 1, iat=None, exp=now + 300)))
    assert "expired" in refusal(tokens, signed(SigningKey(), claims(nbf=None, iat=None, exp=now - 1)))


def test_unknown_members_are_ignored(keys: JwksFile) -> None:
    """RFC 7515, section 4, and RFC 7519, section 4: what is not known and not critical says nothing."""
    header = {"x5t": "abc", "x5t#S256": "abc", "own": {"deep": [1]}}
    assert (
        verified(service(keys), signed(SigningKey(), claims(own=[1, {"a": None}]), header))[0].name == "ann"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": ""},
        {"audience": ""},
        {"algorithms": []},
        {"algorithms": ["HS256"]},
        {"algorithms": ["RS256", "none"]},
        {"algorithms": ["ES512"]},
    ],
)
def test_verifier_that_would_accept_anything_is_not_made(keys: JwksFile, changes: dict[str, Any]) -> None:
    """Without an issuer, an audience, or algorithms that have public keys there is nothing to verify."""
    with pytest.raises(ValueError, match=r"name both|signature algorithms are"):
        service(keys, **changes)


@pytest.mark.parametrize(
    "subject", [5, 0, True, False, [], {}, ["ann"], {"a": 1}, "ann\n", "\x1b[31mann", "\ud800", "a" * 1025]
)
def test_name_that_no_log_can_show_is_refused(keys: JwksFile, subject: object) -> None:
    """Names stand in logs: they are strings of sensible length without control characters."""
    assert refusal(service(keys), signed(SigningKey(), claims(sub=subject))) == "the token's sub is no name"
