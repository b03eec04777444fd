"""Addresses: of clients, in the one form in which they are compared and counted, and of the registry itself. Pure."""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

UNIX = "unix"
"""Whoever comes by a Unix socket, and has no address."""

_REMEMBERED = 4096
_LONGEST_HOST = 261  # a DNS name of 255, a colon and a port
_LONGEST_ADDRESS = 100  # of IPv6, with a zone, brackets and a port
_WITH_PORT = re.compile(r"\[([^\[\]]*)\](?::[0-9]{1,5})?|([0-9.]+):[0-9]{1,5}")
_HOST = re.compile(r"[A-Za-z0-9._:\[\]-]+")
_MAPPED = IPv6Network("::ffff:0:0/96")
_MAPPED_BITS = 96
_SITE_BITS = 64


def parse_address(text: str) -> Address | None:
    """The address of a text, without port, brackets and zone, an IPv4-mapped one as IPv4; None where it is none."""
    # What anybody may have written is remembered only where it is short.
    return _parse(text) if len(text) <= _LONGEST_ADDRESS else None


@lru_cache(_REMEMBERED)
def _parse(text: str) -> Address | None:
    match = _WITH_PORT.fullmatch(text)
    bare = (match[1] or match[2] or "") if match else text
    try:
        address = ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if address.version == 6 else address  # noqa: PLR2004 - as in IPv6


@lru_cache(_REMEMBERED)
def counted_as(client: str) -> str:
    """What a client's requests are counted under, from the address of its request or the lack of one.

    An IPv6 address counts as its network of 64 bits: so many addresses are everybody's to choose from.
    """
    address = parse_address(client)
    if isinstance(address, IPv6Address):
        return f"{ip_network((address, _SITE_BITS), strict=False)}"
    return str(address or client or UNIX)


class Networks:
    """Some addresses and networks; `client in networks` for the address of a request.

    Raises ValueError for a text that is none of both, nor `unix`.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        texts = tuple(texts)
        self._unix = UNIX in texts
        self._networks = tuple(_network(text) for text in texts if text != UNIX)
        self._holds = lru_cache(_REMEMBERED)(self._search)

    def __contains__(self, client: str) -> bool:
        return self._holds(client)

    def _search(self, client: str) -> bool:
        if not client:
            return self._unix
        address = parse_address(client)
        return address is not None and any(address in network for network in self._networks)


def _network(text: str) -> Network:
    network = ip_network(text)
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        mapped = network.network_address.ipv4_mapped
        return ip_network((int(mapped or 0), network.prefixlen - _MAPPED_BITS))
    return network


def host_or_nothing(text: str | None) -> str:
    """The host, with its port, that a client says it asked; empty where that is no host's name (RFC 9110, 7.2)."""
    if text is None or len(text) > _LONGEST_HOST or not _HOST.fullmatch(text):
        return ""
    return text
