"""What tests of id tokens ask: keys that are at hand, and what a token proves and is granted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from cargohold.auth.grants import Grants
from cargohold.auth.jwks import parse_jwks
from cargohold.auth.protocols import Unproved
from cargohold.types.operations import Permission
from tests.auth.idp import SigningKey, jwks

if TYPE_CHECKING:
    from cargohold.auth.jwks import PublicKey
    from cargohold.auth.oidc import IdTokens
    from cargohold.auth.protocols import Proved

AUDIENCE = "registry.example.com"
BOTH = frozenset({Permission.PULL, Permission.PUSH})


class FixedKeys:
    """Keys that are at hand."""

    def __init__(self) -> None:
        self._keys = parse_jwks(jwks(SigningKey()))

    async def find(self, kid: str | None) -> tuple[PublicKey, ...]:
        return self._keys.named(kid)

    def version(self) -> int:
        return 0


def proved(tokens: IdTokens, token: str, name: str = "ci") -> Proved | None:
    """None where it is no id token, or does not hold."""
    try:
        return asyncio.run(tokens.prove(name, token))
    except Unproved:
        return None


def granted(tokens: IdTokens, token: str) -> list[str] | None:
    """The patterns that a token is granted; None where it is refused."""
    found = proved(tokens, token)
    if found is None:
        return None
    assert isinstance(found.authority, Grants)
    return [grant.pattern for grant in found.authority.grants]
