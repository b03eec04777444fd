"""JSON Web Tokens of others (RFC 7519), signed with a public key: read strictly, and verified (RFC 8725).

Only the compact form is read (RFC 7515, section 7.1), and only as it is written by the book: base64url without
padding, one object of JSON in the header and in the claims, no member twice. A token that carries a key, or says where
one is, or asks for what is not known here, is refused.
"""

from __future__ import annotations

import base64
import binascii
import json
import time
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec

from cargohold.auth.jwks import ALGORITHMS
from cargohold.auth.protocols import Unproved

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from cargohold.auth.jwks import KeySource

LONGEST = 16 * 1024
"""The longest token that is looked at, in characters."""

_PARTS = 3
_LONGEST_WORD = 1024
_YEAR_10000 = 253402300800.0
# Keys of the token's own, compression and encryption, what must be understood, and tokens within tokens.
_REFUSED = frozenset({"jwk", "jku", "x5u", "x5c", "crit", "b64", "zip", "enc", "cty"})


class Token(msgspec.Struct, frozen=True):
    """A token that has been read, and not verified: nothing that it says may be believed yet."""

    header: dict[str, Any]
    claims: dict[str, Any]
    message: bytes
    signature: bytes

    @property
    def issuer(self) -> object:
        """Whose token it says it is."""
        return self.claims.get("iss")


def read_token(text: str) -> Token:
    """Take a token apart. Raises Unproved where it is none."""
    if len(text) > LONGEST:
        raise Unproved(f"a token has at most {LONGEST} characters")
    parts = text.split(".")
    if len(parts) != _PARTS:
        raise Unproved("a signed token has three parts")
    header, claims, signature = map(_decode, parts)
    message = text[: len(text) - len(parts[-1]) - 1]
    return Token(_read_object(header), _read_object(claims), message.encode(), signature)


def _decode(part: str) -> bytes:
    try:
        decoded = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise Unproved("a part of the token is no base64url") from None
    # Other spellings of the same bytes would make many tokens of one.
    if base64.urlsafe_b64encode(decoded).rstrip(b"=") != part.encode():
        raise Unproved("a part of the token is not written as base64url is")
    return decoded


def _read_object(text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text.decode(), object_pairs_hook=_without_doubles, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise Unproved("a part of the token is no JSON, or names a member twice") from None
    if not isinstance(value, dict):
        raise Unproved("a part of the token is no object")
    return value


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member is there twice")
    return members


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


class Verifier:
    """Verifies the tokens of one issuer for one audience.

    `algorithms` are those of `ALGORITHMS` that are accepted; `types` are the accepted values of `typ` in lower case,
    besides its absence; `leeway` is how many seconds the clocks may be apart. Raises ValueError where that would
    accept anything.
    """

    def __init__(  # noqa: PLR0913 - what a token must say
        self,
        keys: KeySource,
        *,
        issuer: str,
        audience: str,
        algorithms: Collection[str],
        types: Collection[str],
        leeway: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not issuer or not audience:
            raise ValueError("tokens are verified for an issuer and an audience: name both")
        if not algorithms or not ALGORITHMS.issuperset(algorithms):
            raise ValueError(f"signature algorithms are some of {', '.join(sorted(ALGORITHMS))}")
        self.issuer = issuer
        self.keys = keys
        self._audience = audience
        self._algorithms = frozenset(algorithms)
        self._types = frozenset(types)
        self._leeway = leeway
        self._clock = clock

    async def verify(self, token: Token) -> float:
        """Until when it holds, the leeway included, in seconds of the epoch. Raises Unproved."""
        # No key is looked for on behalf of a token that would be refused with it.
        until = self._check_claims(token.claims)
        algorithm, kid = self._check_header(token.header)
        for key in await self.keys.find(kid):
            if key.verifies(algorithm, token.message, token.signature):
                return until
        raise Unproved("the token is signed with none of the issuer's keys that it could name")

    def _check_header(self, header: dict[str, Any]) -> tuple[str, str | None]:
        algorithm, kid, kind = header.get("alg"), header.get("kid"), header.get("typ")
        if not isinstance(algorithm, str) or algorithm not in self._algorithms:
            raise Unproved("the token is signed by an algorithm that is not accepted")
        if not _REFUSED.isdisjoint(header):
            raise Unproved("the token's header carries a key, or asks for what is not known here")
        if kid is not None and not (isinstance(kid, str) and len(kid) <= _LONGEST_WORD):
            raise Unproved("the token's kid is no name of a key")
        if kind is not None and not (isinstance(kind, str) and self._is_accepted(kind)):
            raise Unproved("the token is of a type that is not accepted here")
        return algorithm, kid

    def _is_accepted(self, kind: str) -> bool:
        return kind.lower().removeprefix("application/") in self._types

    def _check_claims(self, claims: dict[str, Any]) -> float:
        if claims.get("iss") != self.issuer:
            raise Unproved("the token is of another issuer")
        audience = claims.get("aud")
        if audience != self._audience and not (isinstance(audience, list) and self._audience in audience):
            raise Unproved("the token is for another audience")
        now = self._clock()
        expiry = _moment(claims, "exp")
        if expiry is None:
            raise Unproved("the token has no expiry")
        if now >= expiry + self._leeway:
            raise Unproved("the token has expired")
        for name in ("nbf", "iat"):
            moment = _moment(claims, name)
            if moment is not None and now < moment - self._leeway:
                raise Unproved("the token is not valid yet")
        return expiry + self._leeway


def _moment(claims: dict[str, Any], name: str) -> float | None:
    """A NumericDate (RFC 7519, section 2): seconds of the epoch, before the year 10000."""
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _YEAR_10000:
        raise Unproved(f"the token's {name} is no time")
    return float(value)


def subject_of(claims: dict[str, Any]) -> str:
    """The `sub`, empty where there is none. Raises Unproved where it is nothing that a line of a log can show."""
    subject = claims.get("sub")
    if subject is None:
        return ""
    if not isinstance(subject, str) or len(subject) > _LONGEST_WORD or not subject.isprintable():
        raise Unproved("the token's sub is no name")
    return subject
