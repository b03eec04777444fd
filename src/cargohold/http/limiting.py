"""Rate limits: how many requests an address, and a user, may send."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cargohold.storage.rates import Rate
from cargohold.types.addresses import Networks, counted_as
from cargohold.types.errors import RegistryError, TooManyRequests

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cargohold.http.exchange import Handler
    from cargohold.messages import Answer, Headers, Request
    from cargohold.storage.counters import Counters
    from cargohold.storage.rates import Standing

_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_EXEMPT = frozenset({"/health", "/health/ready"})


class Limiter:
    """Counts the requests of addresses and of users, those that read and those that write apart.

    Rates are as settings write them (`600/minute`), None where there is no limit. Addresses of `allow` are never
    limited, nor are the paths of health, below `prefix` too. Raises ValueError for what is no network.
    """

    def __init__(  # noqa: PLR0913 - each is a setting
        self,
        counters: Counters,
        *,
        address_reads: str | None = None,
        address_writes: str | None = None,
        user_reads: str | None = None,
        user_writes: str | None = None,
        allow: Iterable[str] = (),
        prefix: str = "",
    ) -> None:
        def rate(text: str | None, kind: str) -> Rate | None:
            return None if text is None else Rate(text, kind, counters)

        self._of_addresses = rate(address_reads, "address-reads"), rate(address_writes, "address-writes")
        self._of_users = rate(user_reads, "user-reads"), rate(user_writes, "user-writes")
        self._allowed = Networks(allow)
        self._prefix = prefix

    def by_address(self, request: Request) -> None:
        """Count a request for its address. Raises TooManyRequests."""
        rate = self._of_addresses[request.method not in _READS]
        if rate is not None and not self._is_free(request):
            _count(rate, counted_as(request.client), "this address")

    def by_user(self, request: Request) -> None:
        """Count a request for its user, if it has one, once that is known. Raises TooManyRequests."""
        rate = self._of_users[request.method not in _READS]
        if rate is not None and request.identity.name and not self._is_free(request):
            _count(rate, _user(request), "this user")

    def headers(self, request: Request) -> Headers:
        """How a request that was counted stands with the limit that is nearest to refusing the next one."""
        standings = () if self._is_free(request) else tuple(self._standings(request))
        if not standings:
            return []
        nearest = min(standings, key=lambda standing: (standing.remaining, -standing.reset))
        return [
            ("x-ratelimit-limit", str(nearest.limit)),
            ("x-ratelimit-remaining", str(nearest.remaining)),
            ("x-ratelimit-reset", str(nearest.reset_second)),
        ]

    def _standings(self, request: Request) -> Iterator[Standing]:
        writes = request.method not in _READS
        if (rate := self._of_addresses[writes]) is not None:
            yield rate.standing(counted_as(request.client))
        if (rate := self._of_users[writes]) is not None and request.identity.name:
            yield rate.standing(_user(request))

    def _is_free(self, request: Request) -> bool:
        return request.client in self._allowed or request.path.removeprefix(self._prefix) in _EXEMPT


def _user(request: Request) -> str:
    """What a user is counted as. No sort has a colon."""
    return f"{request.identity.sort}:{request.identity.name}"


def _count(rate: Rate, who: str, whose: str) -> None:
    if not rate.take(who):
        wait = rate.standing(who).wait
        raise TooManyRequests(
            f"too many requests from {whose}; try again in {wait} seconds",
            headers=[("retry-after", str(wait))],
        )


def limit(handler: Handler, limiter: Limiter) -> Handler:
    """Refuse what an address sends too much of, and tell in each answer how its sender stands with the limits.

    Stands within what answers errors, and around what calls `limiter.by_user`.
    """

    async def handle(request: Request) -> Answer:
        try:
            limiter.by_address(request)
            answer = await handler(request)
        except RegistryError as error:
            error.headers.extend(limiter.headers(request))
            raise
        answer.headers.extend(limiter.headers(request))
        return answer

    return handle
