"""The keys that an issuer publishes on the web, remembered, and fetched again when they are old or one is new."""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from cargohold.auth.fetch import FetchError, fetch
from cargohold.auth.jwks import Keys, parse_jwks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cargohold.auth.fetch import Document
    from cargohold.auth.jwks import PublicKey

RETRY_SECONDS = 30.0
SHORTEST_SECONDS, LONGEST_SECONDS = 300.0, 3600.0
KEPT_SECONDS = 86400.0

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

_log = logging.getLogger(__name__)


class PublishedKeys:
    """A `KeySource` that `load` fetches as a JWK set; `name` is what logs call it.

    Nothing is fetched before the first token. From then on the set is fetched again when it is as old as its publisher
    allows (never more often than every 5 minutes, nor more seldom than every hour), beside the requests, and when a
    token names a key that it does not have, which that token waits for. Between two attempts are at least 30 seconds,
    whoever asks for whatever key, and there is never more than one at a time. Where the issuer cannot be reached, the
    keys of the last fetch stay for 24 hours.
    """

    def __init__(
        self,
        name: str,
        load: Callable[[], Awaitable[Document]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._load = load
        self._clock = clock
        self._keys = Keys()
        self._body = b""
        self._version = 0
        self._old_at = self._gone_at = float("inf")
        self._next_attempt = float("-inf")
        self._attempt: asyncio.Task[None] | None = None

    async def find(self, kid: str | None) -> tuple[PublicKey, ...]:
        """See `KeySource`."""
        self._keep_fresh()
        found = self._keys.named(kid)
        if not found and (kid is not None or not self._keys):
            attempt = self._begin()
            if attempt is not None:
                await asyncio.shield(attempt)
                found = self._keys.named(kid)
        return found

    def version(self) -> int:
        """See `KeySource`."""
        self._keep_fresh()
        return self._version

    def _keep_fresh(self) -> None:
        now = self._clock()
        if now >= self._old_at:
            self._begin()
        if now >= self._gone_at:
            _log.error("the keys of %s were last fetched a day ago: they are no longer believed", self._name)
            self._replace(Keys(), b"")
            self._old_at = self._gone_at = float("inf")

    def _begin(self) -> asyncio.Task[None] | None:
        """The attempt that is under way, or a new one; None where the last one was just now."""
        if self._attempt is None or self._attempt.done():
            now = self._clock()
            if now < self._next_attempt:
                return None
            self._next_attempt = now + RETRY_SECONDS
            self._attempt = asyncio.get_running_loop().create_task(self._fetch())
        return self._attempt

    async def _fetch(self) -> None:
        try:
            document = await self._load()
            keys = await asyncio.to_thread(parse_jwks, document.body)
        except (FetchError, TimeoutError, ValueError) as error:
            reason = str(error) or "no answer in time"
            _log.warning("the keys of %s cannot be fetched: %s", self._name, reason)
            return
        if document.body != self._body:
            self._replace(keys, document.body)
            if not keys:
                _log.warning("%s publishes no key that verifies signatures", self._name)
        now = self._clock()
        kept = LONGEST_SECONDS if document.max_age is None else document.max_age
        self._old_at = now + min(max(kept, SHORTEST_SECONDS), LONGEST_SECONDS)
        self._gone_at = now + KEPT_SECONDS

    def _replace(self, keys: Keys, body: bytes) -> None:
        self._keys, self._body = keys, body
        self._version += 1


class JwksUrl(PublishedKeys):
    """The keys of a JWK set at an address."""

    def __init__(self, url: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(url, functools.partial(fetch, url), clock=clock)


class DiscoveredKeys(PublishedKeys):
    """The keys of an issuer that says where they are (OpenID Connect Discovery 1.0, section 4)."""

    def __init__(self, issuer: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(issuer, functools.partial(_discover, issuer), clock=clock)


class _Discovery(msgspec.Struct):
    issuer: str
    jwks_uri: str


async def _discover(issuer: str) -> Document:
    url = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
    try:
        found = msgspec.json.decode((await fetch(url)).body, type=_Discovery)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        raise FetchError(f"{url} is no document of OpenID Connect Discovery") from None
    if found.issuer != issuer:
        raise FetchError(f"{url} is the document of another issuer")
    if not _is_safe(found.jwks_uri, issuer):
        raise FetchError(f"{url} names keys that are not to be fetched by https")
    return await fetch(found.jwks_uri)


def _is_safe(url: str, issuer: str) -> bool:
    """Whether keys from there are the issuer's: by https, or on this machine where the issuer is by http."""
    try:
        parts, own = urlsplit(url), urlsplit(issuer)
    except ValueError:
        return False
    return parts.scheme == "https" or (parts.scheme == own.scheme == "http" and parts.hostname in _LOOPBACK)
