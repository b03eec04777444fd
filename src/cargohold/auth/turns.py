"""Taking turns at what is slow, so that whoever asks for much of it waits behind themselves and not before others."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from ipaddress import IPv6Address, ip_network
from typing import TYPE_CHECKING

from cargohold.types.addresses import parse_address
from cargohold.types.errors import TooManyRequests

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

AT_ONCE = 2
"""Turns that one network has at a time: as many as there are threads, so that it can keep them busy if it is alone."""
WAITING = 64
"""How many of one network may wait for its turns."""

_SITE_BITS = 48


class Turns:
    """Turns by networks: an IPv4 address, or the 48 bits of IPv6 that providers give to one site (RFC 6177).

    Of each network AT_ONCE have their turn, and the others wait in a line of its own. So no network fills the queue
    for what is slow, and who comes from another waits for no more than AT_ONCE of it. Of one loop.
    """

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}

    @asynccontextmanager
    async def of(self, client: str) -> AsyncIterator[None]:
        """Wait for a turn of the client's network, and have it. Raises TooManyRequests where too many wait."""
        network = _network(client)
        line = self._lines.setdefault(network, _Line())
        if line.length >= AT_ONCE + WAITING:
            raise TooManyRequests(
                "too many logins from this network wait to be checked; try again soon",
                headers=[("retry-after", "1")],
            )
        line.length += 1
        try:
            async with line.turns:
                yield
        finally:
            line.length -= 1
            if not line.length:
                del self._lines[network]


class _Line:
    """Those of a network who wait or have their turn."""

    def __init__(self) -> None:
        self.length = 0
        self.turns = asyncio.Semaphore(AT_ONCE)


def _network(client: str) -> str:
    address = parse_address(client)
    if isinstance(address, IPv6Address):
        return str(ip_network((address, _SITE_BITS), strict=False))
    return str(address or client)
