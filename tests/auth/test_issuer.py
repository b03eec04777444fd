"""The tokens of the registry: what is in them, what they give, and what is not taken for one."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
from typing import TYPE_CHECKING, Any

import pytest
from joserfc import jws
from joserfc.jwk import ECKey, KeySet, OctKey, RSAKey

from cargohold.auth.identity import Identity, Kind, Scope
from cargohold.auth.issuer import LONGEST_TOKEN_BYTES, Issuer
from cargohold.auth.keys import LONGEST_TOKEN_SECONDS, PUBLISH_SECONDS, SigningKeys
from cargohold.auth.protocols import Proved, Subject, Unproved
from cargohold.storage.protocols import Unavailable
from cargohold.types.errors import Unsupported
from cargohold.types.names import RepositoryName
from cargohold.types.operations import Access, Permission
from cargohold.types.scopes import MOST_SCOPES, parse_scopes

if TYPE_CHECKING:
    from pathlib import Path

    from cargohold.auth.identity import Authority

START = 1_800_000_000
APP, OTHER = RepositoryName("org/app"), RepositoryName("org/other")
ANN = Subject("user", "ann", "ann", "stamp")
CLAIMS = {"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "access", "subject"}


class Service:
    """An issuer with keys on disk, a clock that a test sets, and the subjects that there are."""

    def __init__(self, root: Path, service: str = "registry.example.com") -> None:
        self.now = START + 0.75
        self.subjects: dict[Subject, Authority] = {ANN: Scope(parse_scopes(["repository:org/app:pull,push"]))}
        (root / "cargohold").mkdir(exist_ok=True)
        self.keys = SigningKeys(str(root / "cargohold" / "keys"))
        self.keys.prepare(self.now)
        self.issuer = Issuer(
            self.keys,
            self.subjects.get,
            issuer="issuer",
            service=service,
            lifetime=300.0,
            clock=lambda: self.now,
        )

    def proved(self, subject: Subject = ANN, until: float = float("inf")) -> Proved:
        return Proved(subject, self.subjects[subject], until)

    def token(self, *scopes: str, subject: Subject = ANN) -> str:
        return self.issuer.issue(self.proved(subject), parse_scopes(scopes)).token

    def verify(self, token: str) -> tuple[Identity, float]:
        return asyncio.run(self.issuer.verify(token))

    def signed(self, claims: object, key: Any = None, **header: object) -> str:
        """A token with our signature, or another's, whatever it says."""
        signing = self.keys.signing(self.now)
        header = {"alg": "ES256", "kid": signing.kid, "typ": "JWT"} | header
        return jws.serialize_compact(
            {name: value for name, value in header.items() if value is not None},
            claims if isinstance(claims, bytes) else json.dumps(claims),
            key or signing.key,
            algorithms=[str(header["alg"])],
        )


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return Service(tmp_path)


def part(token: str, number: int) -> dict[str, Any]:
    text = token.split(".")[number]
    read: dict[str, Any] = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return read


def written(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def refused(service: Service, token: str) -> None:
    with pytest.raises(Unproved):
        service.verify(token)


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
        if permission is not Permission.ENTER and identity.may(permission, repository)
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
    assert identity.may_see(OTHER)


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
        service.keys, other.subjects.get, issuer="issuer", service="other", lifetime=300, clock=lambda: START
    )
    refused(service, other.token())


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "another"},
        {"iss": ""},
        {"iss": ["issuer"]},
        {"aud": "another"},
        {"aud": ["registry.example.com"]},
        {"exp": START},
        {"exp": str(START + 100)},
        {"exp": True},
        {"exp": None},
        {"nbf": START + 100},
        {"iat": "now"},
        {"access": {}},
        {"access": ["repository:org/app:pull"]},
        {"subject": "ann"},
        {"subject": {"name": "ann"}},
        {"subject": {"kind": "user", "name": "bob", "key": "bob", "stamp": "stamp"}},
        *({name: ...} for name in sorted(CLAIMS)),
    ],
)
def test_claims_that_are_not_ours(service: Service, change: dict[str, object]) -> None:
    """Each claim must be there, of its type, and right, though the signature is ours."""
    claims = part(service.token("repository:org/app:pull"), 1)
    service.verify(service.signed(claims))
    changed = {name: value for name, value in {**claims, **change}.items() if value is not ...}
    refused(service, service.signed(changed))


@pytest.mark.parametrize("payload", [b"", b"null", b"[]", b"{", b"\xff", b"{}", b'"text"'])
def test_payload_that_is_none(service: Service, payload: bytes) -> None:
    """What is signed must be claims."""
    refused(service, service.signed(payload))


def test_algorithm_none(service: Service) -> None:
    """A token without a signature is refused, however `none` is written."""
    head, payload, _ = service.token().split(".")
    for name in ("none", "None", "NONE", "nOnE"):
        for signature in ("", "AA"):
            unsigned = written(part(head, 0) | {"alg": name})
            refused(service, f"{unsigned}.{payload}.{signature}")


def test_public_key_as_a_secret(service: Service) -> None:
    """The public key is no secret to sign with: HS256 over any form of it is refused."""
    head, payload, _ = service.token().split(".")
    signed = f"{written(part(head, 0) | {'alg': 'HS256'})}.{payload}"
    key = service.keys.signing(START).key
    (published,) = service.issuer.published()["keys"]
    for secret in (
        key.as_pem(private=False),
        key.as_der(private=False),
        json.dumps(published).encode(),
        str(published["x"]).encode(),
    ):
        mac = hmac.digest(secret, signed.encode(), "sha256")
        refused(service, f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}")


def key_for(algorithm: str) -> ECKey | RSAKey | OctKey:
    match algorithm:
        case "ES384":
            return ECKey.generate_key("P-384")
        case "RS256":
            return RSAKey.generate_key(2048)
        case _:
            return OctKey.generate_key(256)


@pytest.mark.parametrize("algorithm", ["ES384", "RS256", "HS256"])
def test_other_algorithm(service: Service, algorithm: str) -> None:
    """ES256 alone is accepted, whatever else is signed well."""
    claims = part(service.token(), 1)
    refused(service, service.signed(claims, key_for(algorithm), alg=algorithm))


@pytest.mark.parametrize("kid", [None, "", "unknown", "../keys", 7, ["a"], {"a": 1}, "\0", "a" * 4000])
def test_unknown_key(service: Service, kid: object) -> None:
    """A token must name one of our keys, even if one of them has signed it."""
    head, payload, signature = service.token().split(".")
    header = part(head, 0)
    header = {**header, "kid": kid} if kid is not None else {"alg": "ES256"}
    refused(service, f"{written(header)}.{payload}.{signature}")
    if kid is None or isinstance(kid, str):
        refused(service, service.signed(part(f".{payload}.", 1), kid=kid))


@pytest.mark.parametrize("named", [True, False])
def test_key_that_a_token_brings_along(service: Service, named: bool) -> None:
    """Neither a key in the header nor the address of one is looked at, whether or not a key of ours is named."""
    foreign = ECKey.generate_key("P-256", auto_kid=True)
    claims = part(service.token(), 1)
    kid = service.keys.signing(START).kid if named else foreign.kid
    public = foreign.as_dict(private=False)
    for brought in (
        {"jwk": public},
        {"jku": "http://127.0.0.1:9/keys"},
        {"x5u": "http://127.0.0.1:9/certificate"},
        {"x5c": ["MIIB"]},
    ):
        refused(service, service.signed(claims, foreign, kid=kid, **brought))


def test_critical_header(service: Service) -> None:
    """An extension that must be understood is not (RFC 7515, "crit")."""
    head, payload, signature = service.token().split(".")
    header = part(head, 0) | {"crit": ["b64"], "b64": False}
    refused(service, f"{written(header)}.{payload}.{signature}")


def test_another_repository(service: Service) -> None:
    """What a token is not for cannot be put into it: the signature covers all."""
    head, payload, signature = service.token("repository:org/app:pull").split(".")
    claims = part(f".{payload}.", 1)
    claims["access"] = [{"type": "repository", "name": "org/other", "actions": ["*"]}]
    refused(service, f"{head}.{written(claims)}.{signature}")


def test_truncated(service: Service) -> None:
    """No part of a token is a token, and none with more at its end."""
    token = service.token()
    for end in range(0, len(token), 7):
        refused(service, token[:end])
    parts = token.split(".")
    for number in range(3):
        refused(service, ".".join(parts[:number] + parts[number + 1 :]))
        refused(service, ".".join([*parts[:number], "", *parts[number + 1 :]]))
    for tail in (".", ".AA", ".AA.AA", "A", "AAAA", "=", " "):
        refused(service, token + tail)


def test_every_bit_counts(service: Service) -> None:
    """A token in which any character is changed is refused, or says the very same."""
    token = service.token("repository:org/app:pull")
    for place in range(len(token)):
        changed = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        try:
            identity, _ = service.verify(changed)
        except Unproved:
            continue
        # The last character of a signature has bits that say nothing.
        assert place == len(token) - 1
        assert identity.may(Permission.PULL, APP)


@pytest.mark.parametrize(
    "text", ["", ".", "..", "...", "....", "a.b.c", "\0.\0.\0", "é.é.é", "{}.{}.{}", "🛳" * 99]
)
def test_no_token_at_all(service: Service, text: str) -> None:
    """Whatever is sent as a token is refused, and nothing else happens."""
    refused(service, text)


def test_a_megabyte(service: Service) -> None:
    """A token beyond the limit is refused before it is looked at, though all in it be right."""
    claims = part(service.token(), 1)
    fits = service.signed({**claims, "more": "a" * 11_000})
    assert len(fits) < LONGEST_TOKEN_BYTES
    service.verify(fits)
    for length in (13_000, 1 << 20):
        refused(service, service.signed({**claims, "more": "a" * length}))


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
        service.subjects.get,
        issuer="issuer",
        service="registry.example.com",
        lifetime=300,
        clock=lambda: START,
    )
    refused(service, token)
    with pytest.raises(Unavailable):
        service.token()
