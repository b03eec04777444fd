"""A verifier of tokens whose clock stands still, and tokens for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from cargohold.auth.bearer import ForeignTokens
from cargohold.auth.jwks import ALGORITHMS
from cargohold.auth.key_files import JwksFile
from cargohold.auth.protocols import Unproved
from tests.auth.idp import ACCESS, SigningKey, jwks, signed

if TYPE_CHECKING:
    from pathlib import Path

    from cargohold.auth.identity import Identity
    from cargohold.auth.jwks import KeySource

ISSUER, AUDIENCE = "https://tokens.example.com", "registry.example.com"
LEEWAY = 30.0
NOW = 1_800_000_000
OURS = SigningKey("ours")
OURS_TOO = SigningKey("ours-too", "ES256")
THEIRS = SigningKey("theirs", number=1)
HEADER = {"alg": "RS256", "typ": "JWT", "kid": "ours"}


def service(keys: KeySource, **changes: Any) -> ForeignTokens:
    """A verifier whose clock stands still."""
    options: dict[str, Any] = {
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "algorithms": ALGORITHMS,
        "leeway": LEEWAY,
        "clock": lambda: NOW,
    }
    return ForeignTokens(keys, **options | changes)


def claims(**changes: object) -> dict[str, object]:
    """Claims that hold, with changes; those that are None are left out."""
    whole: dict[str, object] = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "ann",
        "iat": NOW,
        "nbf": NOW,
        "exp": NOW + 300,
        "jti": "1",
        "access": ACCESS,
    }
    return {name: value for name, value in (whole | changes).items() if value is not None}


def verified(tokens: ForeignTokens, token: str) -> tuple[Identity, float]:
    return asyncio.run(tokens.verify(token))


def refusal(tokens: ForeignTokens, token: str) -> str:
    """Why a token is refused."""
    with pytest.raises(Unproved) as caught:
        verified(tokens, token)
    return str(caught.value)


def trusting(folder: Path, *keys: SigningKey) -> ForeignTokens:
    """A verifier with these keys in a JWK set, seen to accept a token signed by each."""
    path = folder / "keys"
    path.write_bytes(jwks(*keys))
    made = service(JwksFile(str(path)))
    for key in keys:
        assert verified(made, signed(key, claims()))[0].name == "ann"
    return made


def with_claims(**changes: object) -> str:
    """A token that our issuer has signed, with other claims."""
    return signed(OURS, claims(**changes))


def with_header(**members: object) -> str:
    """A token that our issuer has signed, with other members in its header."""
    return signed(OURS, claims(), members)
