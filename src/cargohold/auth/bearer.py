"""Tokens of another token service (Docker token specification, "Token Authentication Implementation")."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from cargohold.auth.identity import Identity, Kind, Scope
from cargohold.auth.jwt import Verifier, read_token, subject_of
from cargohold.auth.protocols import Unproved
from cargohold.types.scopes import read_access_claim

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from cargohold.auth.jwks import KeySource

# RFC 7519, section 5.1, and RFC 9068, section 2.1. Id tokens have the first as well: what they lack is the claim.
_TYPES = ("jwt", "at+jwt")


class ForeignTokens:
    """`Tokens` that the service at `issuer` signs for `audience`, which say themselves what their bearer may do.

    That is the `access` claim alone: a token without one is valid and allows nothing. `leeway` is in seconds. Raises
    ValueError where the issuer or the audience is empty, or an algorithm is not one with public keys.
    """

    def __init__(  # noqa: PLR0913 - what a token must say
        self,
        keys: KeySource,
        *,
        issuer: str,
        audience: str,
        algorithms: Collection[str],
        leeway: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._verifier = Verifier(
            keys,
            issuer=issuer,
            audience=audience,
            algorithms=algorithms,
            types=_TYPES,
            leeway=leeway,
            clock=clock,
        )

    async def verify(self, token: str) -> tuple[Identity, float]:
        """See `Tokens`."""
        read = read_token(token)
        until = await self._verifier.verify(read)
        access = read.claims.get("access")
        if not isinstance(access, list | None):
            raise Unproved("the token's access is no list")
        scope = Scope(read_access_claim(access))
        return Identity(Kind.TOKEN, subject_of(read.claims), scope, scope), until

    def version(self) -> int:
        """See `Tokens`."""
        return self._verifier.keys.version()
