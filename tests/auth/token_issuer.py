"""An issuer of tokens with keys on disk, a clock and subjects that a test sets, and the means to forge."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from joserfc import jws

from cargohold.auth.identity import Identity, Scope
from cargohold.auth.issuer import Issuer
from cargohold.auth.keys import SigningKeys
from cargohold.auth.protocols import Proved, Subject, Unproved
from cargohold.types.names import RepositoryName
from cargohold.types.scopes import parse_scopes

if TYPE_CHECKING:
    from pathlib import Path

    from cargohold.auth.identity import Authority

START = 1_800_000_000
APP, OTHER = RepositoryName("org/app"), RepositoryName("org/other")
ANN = Subject("user", "ann", "ann", "stamp")
CLAIMS = {"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "access", "subject"}


class Service:
    """An issuer with keys on disk, a clock that a test sets, and the subjects that there are `until` then."""

    def __init__(self, root: Path, service: str = "registry.example.com") -> None:
        self.now = START + 0.75
        self.subjects: dict[Subject, Authority] = {ANN: Scope(parse_scopes(["repository:org/app:pull,push"]))}
        self.until = float("inf")
        (root / "cargohold").mkdir(exist_ok=True)
        self.keys = SigningKeys(str(root / "cargohold" / "keys"))
        self.keys.prepare(self.now)
        self.issuer = Issuer(
            self.keys,
            self.known,
            issuer="issuer",
            service=service,
            lifetime=300.0,
            clock=lambda: self.now,
        )

    def known(self, subject: Subject) -> Proved | None:
        authority = self.subjects.get(subject)
        return None if authority is None else Proved(subject, authority, self.until)

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


def part(token: str, number: int) -> dict[str, Any]:
    text = token.split(".")[number]
    read: dict[str, Any] = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return read


def written(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def refused(service: Service, token: str) -> None:
    with pytest.raises(Unproved):
        service.verify(token)
