"""Refresh tokens: what a client may keep in place of a password, to get tokens with."""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import secrets
import time
from typing import TYPE_CHECKING

from cargohold.auth.protocols import Subject
from cargohold.storage.protocols import Unavailable
from cargohold.storage.state import RefreshToken

if TYPE_CHECKING:
    from cargohold.storage.state import State

_TOKEN = re.compile(r"chrt_[A-Za-z0-9_-]{43}")
_TOKEN_BYTES = 32
_DAY = 86400.0
_MOST = 1000
_NOT_EXTENDED = 0.0

_log = logging.getLogger(__name__)


class RefreshTokens:
    """The refresh tokens of a registry, in all of its processes.

    A token says whose it is and no more: whether its subject is still there must be asked at each use. A subject
    has 1,000 at most; with one more, that which would end first goes. Every call may raise
    `storage.protocols.Unavailable`.
    """

    def __init__(self, state: State) -> None:
        self._state = state

    async def create(self, subject: Subject, lifetime: float, *, extended: bool = True) -> str:
        """A new token, which holds for `lifetime` seconds; where it is `extended`, for as many after each use."""
        token, now = f"chrt_{secrets.token_urlsafe(_TOKEN_BYTES)}", time.time()
        kept = RefreshToken(
            _hash(token),
            subject.kind,
            subject.name,
            subject.key,
            subject.stamp,
            lifetime if extended else _NOT_EXTENDED,
            now + lifetime,
        )
        await self._state.add_refresh_token(kept, now=now, most=_MOST)
        return token

    async def prove(self, token: str) -> tuple[Subject, float] | None:
        """Whose it is, and until when whatever is given for it holds (seconds of the epoch). This is a use of it.

        None where it never was, has ended or was revoked. What is given for one that uses extend has no end by it; such
        a use is written down where the last that was is older than a day, or than a tenth of the token's life.
        """
        if _TOKEN.fullmatch(token) is None:
            return None
        hashed, now = _hash(token), time.time()
        kept = self._state.find_refresh_token(hashed)
        if kept is None or not hmac.compare_digest(kept.hash, hashed) or kept.expires <= now:
            return None
        subject = Subject(kept.kind, kept.name, kept.key, kept.stamp)
        if kept.lifetime == _NOT_EXTENDED:
            return subject, kept.expires
        unused = kept.lifetime - (kept.expires - now)
        if unused > min(_DAY, kept.lifetime / 10):
            await self._extend(kept, now)
        return subject, float("inf")

    async def _extend(self, kept: RefreshToken, now: float) -> None:
        """The token holds all the same where this cannot be written, on a full disk or a read-only one."""
        try:
            await self._state.extend_refresh_token(kept.hash, now + kept.lifetime)
        except Unavailable as error:
            _log.warning("the use of a refresh token cannot be written down: %s", error)

    async def revoke(self, token: str) -> None:
        """End it; nothing where there is none."""
        await self._state.remove_refresh_token(_hash(token))


def _hash(token: str) -> bytes:
    """Of 256 random bits: nothing slower is needed."""
    return hashlib.sha256(token.encode()).digest()
