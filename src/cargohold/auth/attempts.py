"""Logins that failed, counted over all workers, so that nobody can try passwords by the thousand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cargohold.storage.rates import Rate
from cargohold.types.addresses import Networks, counted_as
from cargohold.types.errors import TooManyRequests

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cargohold.storage.counters import Counters

NAME_TIMES = 10
"""How many times the rate of an address may be failed for a name, from all addresses together."""

ALLOWANCE = 5
"""How many times an address may fail for a name though others have used up the rate of that name."""


class FailedLogins:
    """Implements `auth.protocols.Attempts`.

    From an address no more logins may fail than `rate` says (`20/minute`); then it is refused every login, until
    some time has passed. For a user's name ten times as many may fail, from everywhere; then those addresses are
    refused for it from which ALLOWANCE have failed for that very name. So a thousand addresses have few tries each in
    that time, and the user, who comes from an address of their own, is not locked out: not by others, nor by mistyping
    once, nor by what somebody else behind the same address does in other names.

    Addresses of `allow` are never refused, and their failures are not counted. Raises ValueError for what is no
    network.
    """

    def __init__(self, rate: str, counters: Counters, *, allow: Iterable[str] = ()) -> None:
        self._of_addresses = Rate(rate, "login-address", counters)
        self._of_pairs = Rate(rate, "login-pair", counters)
        self._of_names = Rate(rate, "login-name", counters, times=NAME_TIMES)
        self._allowed = Networks(allow)

    def check(self, client: str, name: str) -> None:
        """See `Attempts`."""
        if client in self._allowed:
            return
        address = self._of_addresses.standing(counted_as(client))
        if not address.remaining:
            _refuse(address.wait)
        if address.limit - address.remaining < ALLOWANCE:
            return
        own = self._of_pairs.standing(_pair(client, name))
        if own.limit - own.remaining >= ALLOWANCE:
            named = self._of_names.standing(name)
            if not named.remaining:
                _refuse(min(named.wait, own.wait))

    def failed(self, client: str, name: str) -> None:
        """See `Attempts`."""
        if client not in self._allowed:
            self._of_addresses.take(counted_as(client))
            self._of_pairs.take(_pair(client, name))
            self._of_names.take(name)


def _pair(client: str, name: str) -> str:
    return f"{counted_as(client)} {name}"


def _refuse(wait: int) -> None:
    raise TooManyRequests(
        f"too many logins have failed; try again in {wait} seconds", headers=[("retry-after", str(wait))]
    )
