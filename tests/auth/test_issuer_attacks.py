"""What is not taken for a token of the registry, though it looks like one."""

from __future__ import annotations

import base64
import hmac
import json
from typing import TYPE_CHECKING

import pytest
from joserfc.jwk import ECKey, OctKey, RSAKey

from cargohold.auth.issuer import LONGEST_TOKEN_BYTES
from cargohold.auth.protocols import Unproved
from cargohold.types.operations import Permission
from tests.auth.token_issuer import APP, CLAIMS, START, Service, part, refused, written

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return Service(tmp_path)


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
