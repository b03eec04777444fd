"""The tokens of the registry: what is in them, what they give, and for how long."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from joserfc import jws
from joserfc.jwk import KeySet

from cargohold.auth.identity import Kind, Scope, Sight
from cargohold.auth.issuer import Issuer
from cargohold.auth.keys import LONGEST_TOKEN_SECONDS, PUBLISH_SECONDS, SigningKeys
from cargohold.auth.protocols import Subject, Unproved
from cargohold.storage.protocols import Unavailable
from cargohold.types.errors import Unsupported
from cargohold.types.operations import Access, Permission
from cargohold.types.scopes import MOST_SCOPES, parse_scopes
from tests.auth.token_issuer import ANN, APP, CLAIMS, OTHER, START, Service, part, refused

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return Service(tmp_path)


def test_claims(service: Service) -> None:
    """A token bears the claims of the Docker token specification, and the subject; its header names its key."""
    issued = service.issuer.issue(service.proved(), parse_scopes(["repository:org/app:pull"]))
    assert part(issued.token, 0) == {"alg": "ES256", "kid": service.keys.signing(START).kid, "typ": "JWT"}
    claims = part(issued.token, 1)
    assert claims.keys() == CLAIMS
    assert len(claims.pop("jti")) == 32
    assert claims == {
        "iss": "issuer",
        "sub": "ann",
        "aud": "registry.example.com",
        "iat": START,
        "nbf": START,
        "exp": START + 300,
        "access": [{"type": "repository", "name": "org/app", "actions": ["pull"]}],
        "subject": {"kind": "user", "name": "ann", "key": "ann", "stamp": "stamp"},
    }
    assert (issued.issued_at, issued.expires_in) == (START, 300)
    assert issued.granted == (Access(Permission.PULL, APP),)


def test_each_token_is_another(service: Service) -> None:
    """Two tokens for the same are told apart by `jti`."""
    assert part(service.token(), 1)["jti"] != part(service.token(), 1)["jti"]


def test_others_can_verify(service: Service) -> None:
    """Whoever has the published keys can verify a token."""
    token = service.token("repository:org/app:pull")
    published = json.loads(json.dumps(service.issuer.published()))
    signed = jws.deserialize_compact(token, KeySet.import_key_set(published), algorithms=["ES256"])
    assert signed.payload is not None
    assert json.loads(signed.payload)["sub"] == "ann"


def test_no_more_than_asked_and_allowed(service: Service) -> None:
    """A token gives what is asked and may be done; for the rest it says nothing, even if there is nothing left."""
    asked = ["repository:org/app:pull,delete", "repository:org/other:pull", "registry:catalog:*"]
    identity, until = service.verify(service.token(*asked))
    assert (identity.kind, identity.name, until) == (Kind.TOKEN, "ann", START + 300)
    held = [
        (permission, repository)
        for permission in Permission
        for repository in (APP, OTHER, None)
        if permission not in (Permission.ENTER, Permission.METRICS) and identity.may(permission, repository)
    ]
    assert held == [(Permission.PULL, APP)]
    nothing = service.issuer.issue(service.proved(), parse_scopes(["repository:org/other:*"]))
    assert nothing.granted == ()
    assert part(nothing.token, 1)["access"] == []
    assert service.verify(nothing.token)[0].may(Permission.ENTER)
    assert not service.verify(nothing.token)[0].may(Permission.PULL, APP)


def test_authority_as_it_is_now(service: Service) -> None:
    """A token never gives more than its subject may do at the time of its use, and what lists show is the subject's."""
    token = service.token("repository:org/app:pull,push")
    service.subjects[ANN] = Scope(parse_scopes(["repository:org/app:pull repository:org/other:pull"]))
    identity, _ = service.verify(token)
    assert identity.may(Permission.PULL, APP)
    assert not identity.may(Permission.PUSH, APP)
    assert not identity.may(Permission.PULL, OTHER)
    assert Sight(identity.authority)(OTHER)


@pytest.mark.parametrize(
    "subject",
    [
        Subject("anonymous"),
        Subject("robot", "ci", "0123"),
        Subject("user", "änn \u2603", "änn \u2603", "s"),
        Subject("workload", "repo:org/app", json.dumps([{"a": ["b"]}])),
    ],
)
def test_each_kind_of_subject(service: Service, subject: Subject) -> None:
    """Whoever a token was issued to is found again by the whole of their subject."""
    service.subjects[subject] = Scope(parse_scopes(["repository:org/other:pull"]))
    token = service.token("repository:org/other:pull", subject=subject)
    identity, _ = service.verify(token)
    assert (identity.name, identity.may(Permission.PULL, OTHER)) == (subject.name, True)
    del service.subjects[subject]
    refused(service, token)


@pytest.mark.parametrize(
    "change", [{"kind": "robot"}, {"name": "bob"}, {"key": "other"}, {"stamp": "changed"}]
)
def test_dies_with_its_subject(service: Service, change: dict[str, str]) -> None:
    """A token is worth nothing once its user is gone, or has another password, or another of the name came."""
    token = service.token("repository:org/app:pull")
    old = {"kind": ANN.kind, "name": ANN.name, "key": ANN.key, "stamp": ANN.stamp}
    service.subjects[Subject(**old | change)] = service.subjects.pop(ANN)
    refused(service, token)


def test_times(service: Service) -> None:
    """A token is valid from when it was issued, and not at the second when it expires."""
    token = service.token()
    for moment, valid in [(START - 0.1, False), (START, True), (START + 299.9, True), (START + 300, False)]:
        service.now = moment
        if valid:
            assert service.verify(token)[1] == START + 300
        else:
            refused(service, token)


def test_never_beyond_the_proof(service: Service) -> None:
    """A token expires with what its bearer proved themselves by; when that is over there is none."""
    issued = service.issuer.issue(service.proved(until=START + 20.9), ())
    assert (issued.issued_at, issued.expires_in) == (START, 20)
    assert service.verify(issued.token)[1] == START + 20
    for until in (START + 0.9, START, 0):
        with pytest.raises(Unproved):
            service.issuer.issue(service.proved(until=until), ())


def test_never_beyond_its_subject(service: Service) -> None:
    """A token holds no longer than its subject, however long before it was issued, and is believed no longer."""
    token = service.token()
    service.until = START + 20.5
    assert service.verify(token)[1] == START + 20.5
    issued = service.issuer.issue(service.issuer.proved(ANN), ())
    assert issued.expires_in == 20
    assert service.verify(issued.token)[1] == START + 20


def test_rotation(service: Service) -> None:
    """Tokens of the old key are accepted until they expire, unless the keys were replaced at once."""
    before = service.token()
    service.keys.rotate(service.now)
    service.now += PUBLISH_SECONDS
    after = service.token()
    assert part(before, 0)["kid"] != part(after, 0)["kid"]
    service.verify(before)
    service.verify(after)
    version = service.issuer.version()
    service.keys.rotate(service.now, at_once=True)
    assert service.issuer.version() != version
    refused(service, before)
    refused(service, after)
    service.verify(service.token())


def test_key_that_is_over(service: Service) -> None:
    """What a key signed after its time is refused."""
    old = service.keys.signing(service.now)
    service.keys.rotate(service.now)
    service.now += PUBLISH_SECONDS + LONGEST_TOKEN_SECONDS
    claims = part(service.token(), 1)
    service.verify(service.signed(claims))
    refused(service, service.signed(claims, old.key, kid=old.kid))


def test_other_registry(service: Service, tmp_path: Path) -> None:
    """A token for another service is refused though its signature is ours."""
    other = Service(tmp_path, "other.example.com")
    other.issuer = Issuer(
        service.keys, other.known, issuer="issuer", service="other", lifetime=300, clock=lambda: START
    )
    refused(service, other.token())


def test_token_that_would_be_too_long(service: Service) -> None:
    """No token is issued that would not be accepted: who asks for so much is told to ask for less."""
    names = [f"org/{'a' * 240}{number}" for number in range(MOST_SCOPES)]
    asked = parse_scopes([f"repository:{name}:pull" for name in names])
    service.subjects[ANN] = Scope(asked)
    with pytest.raises(Unsupported, match="ask for fewer"):
        service.issuer.issue(service.proved(), asked)
    service.verify(service.issuer.issue(service.proved(), asked[:30]).token)


def test_no_keys(tmp_path: Path) -> None:
    """Where there is no key nothing is issued, and nothing accepted."""
    service = Service(tmp_path)
    token = service.token()
    service.issuer = Issuer(
        SigningKeys(f"{tmp_path}/none"),
        service.known,
        issuer="issuer",
        service="registry.example.com",
        lifetime=300,
        clock=lambda: START,
    )
    refused(service, token)
    with pytest.raises(Unavailable):
        service.token()
