"""Who really asks, and how, where a proxy that is trusted says it.

`X-Forwarded-For` and `X-Forwarded-Proto` are read; `Forwarded` (RFC 7239) and `X-Forwarded-Host` are not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cargohold.types.addresses import Networks, parse_address

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cargohold.http.exchange import Handler
    from cargohold.messages import Answer, Request


def forwarded(handler: Handler, trusted: Sequence[str]) -> Handler:
    """Believe these proxies, and nobody else: networks, or `unix` for whoever comes by a Unix socket.

    Raises ValueError for what is no network.
    """
    networks = Networks(trusted)

    async def handle(request: Request) -> Answer:
        if request.client in networks:
            request.scheme = _scheme(request)
            request.client = _client(request, networks)
        return await handler(request)

    return handle


def _client(request: Request, trusted: Networks) -> str:
    """The rightmost address that no trusted proxy has: what stands left of it, anybody may have written.

    Where one writes what is no address, the client is the proxy that wrote it. Where the lines hold bytes beyond
    ASCII, which adapters leave out, the client is unknown, and so is no one's equal.
    """
    lines = request.headers.get_all("x-forwarded-for")
    if not lines:
        return "" if "x-forwarded-for" in request.headers else request.client
    client = request.client
    for hop in reversed(",".join(lines).split(",")):
        address = parse_address(hop.strip(" \t"))
        if address is None:
            break
        client = str(address)
        if client not in trusted:
            break
    return client


def _scheme(request: Request) -> str:
    """What the nearest proxy says last: a client may have written what stands before."""
    said = ",".join(request.headers.get_all("x-forwarded-proto")).rpartition(",")[2].strip(" \t").lower()
    return said if said in ("http", "https") else request.scheme
