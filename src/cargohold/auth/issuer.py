"""The tokens that the registry issues, and verifies: JWTs that say who was given which accesses, and until when.

Their claims are those of the Docker token specification ("Token Authentication Implementation"), and a private one
with the subject, so that a token dies with the password or the robot that it was issued for.
"""

from __future__ import annotations

import math
import time
import uuid
from typing import TYPE_CHECKING

import msgspec
from joserfc import jws
from joserfc.errors import JoseError

from cargohold.auth.identity import Identity, Kind, Scope
from cargohold.auth.protocols import Subject, Unproved
from cargohold.types.errors import Unsupported
from cargohold.types.operations import Access
from cargohold.types.scopes import access_claim, read_access_claim

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from joserfc.jwk import ECKey, GuestProtocol

    from cargohold.auth.keys import Published, SigningKeys
    from cargohold.auth.protocols import Proved

LONGEST_TOKEN_BYTES = 16 << 10
"""A token that is longer is neither issued nor looked at."""

_ALGORITHM = "ES256"


class Issued(msgspec.Struct, frozen=True):
    """A token; it expires `expires_in` seconds after `issued_at` (seconds of the epoch)."""

    token: str
    expires_in: int
    issued_at: int
    granted: tuple[Access, ...]


class _Claims(msgspec.Struct, frozen=True):
    """The claims of our tokens, all of them there; times are seconds of the epoch (RFC 7519)."""

    iss: str
    sub: str
    aud: str
    exp: int
    nbf: int
    iat: int
    jti: str
    access: list[dict[str, object]]
    subject: Subject


_decode_claims = msgspec.json.Decoder(_Claims).decode


class Issuer:
    """Issues tokens in the name of `issuer` for the audience `service`, each valid for `lifetime` seconds at most.

    `known` gives a subject as it stands now, and None where it is gone. `clock` gives seconds of the epoch.
    Both ways take some 100 microseconds, nearly all of them for the signature.
    """

    def __init__(  # noqa: PLR0913 - each is another thing
        self,
        keys: SigningKeys,
        known: Callable[[Subject], Proved | None],
        *,
        issuer: str,
        service: str,
        lifetime: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keys = keys
        self.version: Callable[[], int] = keys.version
        """See `auth.protocols.Tokens`: another number once the keys have changed."""
        self._known = known
        self._issuer = issuer
        self._service = service
        self._lifetime = lifetime
        self._clock = clock

    def issue(self, proved: Proved, asked: Sequence[Access]) -> Issued:
        """A token for what is asked and may be done; of what may not be done it says nothing.

        It expires with what was proved at the latest. Raises Unproved where that has come to its end, Unsupported
        where the token would be too long, and Unavailable (of the storage) where there is no key.
        """
        now = self._clock()
        issued_at = math.floor(now)
        expires = math.floor(min(now + self._lifetime, proved.until))
        if expires <= now:
            raise Unproved
        granted = tuple(access for access in asked if proved.authority.allows(*access))
        subject = proved.subject
        claims = _Claims(
            iss=self._issuer,
            sub=subject.name,
            aud=self._service,
            exp=expires,
            nbf=issued_at,
            iat=issued_at,
            jti=uuid.uuid4().hex,
            access=access_claim(granted),
            subject=subject,
        )
        signing = self._keys.signing(now)
        header = {"alg": _ALGORITHM, "kid": signing.kid, "typ": "JWT"}
        token = jws.serialize_compact(
            header, msgspec.json.encode(claims), signing.key, algorithms=[_ALGORITHM]
        )
        if len(token) > LONGEST_TOKEN_BYTES:
            raise Unsupported(
                f"a token for these scopes would be longer than {LONGEST_TOKEN_BYTES} bytes: ask for fewer at once"
            )
        return Issued(token, expires - issued_at, issued_at, granted)

    async def verify(self, token: str) -> tuple[Identity, float]:
        """See `auth.protocols.Tokens`. It must be one of ours, for us, valid now, and its subject still there."""
        if len(token) > LONGEST_TOKEN_BYTES:
            raise Unproved
        now = self._clock()
        claims = self._read(token, now)
        if claims.iss != self._issuer or claims.aud != self._service or not claims.nbf <= now < claims.exp:
            raise Unproved
        proved = self.proved(claims.subject)
        scope = Scope(read_access_claim(claims.access))
        identity = Identity(Kind.TOKEN, proved.subject.name, proved.authority, scope, proved.subject.kind)
        return identity, min(claims.exp, proved.until)

    def proved(self, subject: Subject) -> Proved:
        """Whoever something was issued to, as they stand now. Raises Unproved where they are gone."""
        proved = self._known(subject)
        if proved is None:
            raise Unproved
        return proved

    def _read(self, token: str, now: float) -> _Claims:
        """The claims of a token with a signature of ours. Raises Unproved."""

        def find(signed: GuestProtocol) -> ECKey:
            # Of the header the thumbprint alone is looked at: no key that a token brings along, or points to.
            key = self._keys.verifying(signed.headers().get("kid", ""), now)
            if key is None:
                raise Unproved
            return key

        try:
            return _decode_claims(jws.deserialize_compact(token, find, algorithms=[_ALGORITHM]).payload)
        except (JoseError, ValueError):
            raise Unproved from None

    def published(self) -> Published:
        """The keys to verify the tokens with."""
        return self._keys.published(self._clock())
