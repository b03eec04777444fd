"""Addresses in the one form in which they are compared and counted."""

from __future__ import annotations

import tracemalloc
from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cargohold.types.addresses import Networks, counted_as, host_or_nothing, parse_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:5000", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::ffff:c000:201", "192.0.2.1"),
        ("[::ffff:192.0.2.1]:80", "192.0.2.1"),
    ],
)
def test_an_address_has_one_form(text: str, address: str) -> None:
    """Ports, brackets and zones are left away, letter case and zeros do not matter, IPv4 within IPv6 is IPv4."""
    assert str(parse_address(text)) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "unknown",
        "_hidden",
        "unix",
        "192.0.2",
        "192.0.2.256",
        "192.0.2.01",
        "192.0.2.1:",
        "192.0.2.1:123456",
        "192.0.2.1, 192.0.2.2",
        "192.0.2.1/32",
        "2001:db8::1]",
        "[2001:db8::1]:",
        "[[2001:db8::1]]",
        "1" * 100_000,
        "\u0661.2.3.4",
    ],
)
def test_what_is_no_address_is_none(text: str) -> None:
    """Garbage is told from an address, and never raises."""
    assert parse_address(text) is None


@given(st.integers(0, 2**61 - 1), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_ipv6_counts_as_its_network_of_64_bits(network: int, host: int, other: int) -> None:
    """All addresses that one host may choose from count as one, whichever it sends from; others do not."""
    network |= 1 << 61  # 2000::/3, what the world is given addresses of
    one, sibling, stranger = (
        str(IPv6Address((upper << 64) | lower))
        for upper, lower in ((network, host), (network, other), (network ^ 1, host))
    )
    assert counted_as(one) == counted_as(sibling)
    assert counted_as(one) != counted_as(stranger)


@pytest.mark.parametrize(
    ("client", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("", "unix"),
        ("testclient", "testclient"),
    ],
)
def test_what_a_client_counts_as(client: str, counted: str) -> None:
    """An IPv4 address counts as itself, however it is written; whoever has none counts as the Unix socket."""
    assert counted_as(client) == counted


@pytest.mark.parametrize(
    ("networks", "client", "holds"),
    [
        (["10.0.0.0/8"], "10.1.2.3", True),
        (["10.0.0.0/8"], "11.1.2.3", False),
        (["10.0.0.0/8"], "::ffff:10.1.2.3", True),
        (["::ffff:10.0.0.0/104"], "10.1.2.3", True),
        (["::ffff:10.0.0.0/104"], "11.1.2.3", False),
        (["10.1.2.3"], "10.1.2.3", True),
        (["10.1.2.3"], "10.1.2.4", False),
        (["2001:db8::/32"], "2001:db8:1::1", True),
        (["2001:db8::/32"], "2001:db9::1", False),
        (["::/0"], "10.1.2.3", False),
        (["0.0.0.0/0"], "2001:db8::1", False),
        (["0.0.0.0/0", "::/0"], "", False),
        (["unix"], "", True),
        (["unix"], "10.1.2.3", False),
        (["unix", "10.0.0.0/8"], "10.1.2.3", True),
        (["10.0.0.0/8"], "unix", False),
        ([], "10.1.2.3", False),
        (["0.0.0.0/0"], "unknown", False),
    ],
)
def test_networks_hold_addresses(networks: list[str], client: str, holds: bool) -> None:
    """An address is in a network of its own family, however it is written; only `unix` holds who has none."""
    assert (client in Networks(networks)) is holds


@pytest.mark.parametrize("text", ["", "10.0.0.1/8", "10.0.0.0/33", "example.com", "10.0.0.0-10.0.0.9"])
def test_what_is_no_network_is_refused(text: str) -> None:
    """A network that cannot be meant so is an error, and is not left away."""
    with pytest.raises(ValueError, match=r".+"):
        Networks([text])


@pytest.mark.parametrize(
    "host", ["registry", "registry.example.com:5000", "127.0.0.1", "[2001:db8::1]:443", "a_b-c.d"]
)
def test_a_host_is_taken_as_it_is(host: str) -> None:
    """Names and addresses, with and without a port."""
    assert host_or_nothing(host) == host


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        "a b",
        'a"b',
        "a,b",
        "a/b",
        "user@host",
        "a\\b",
        "a\r\nb",
        "host\n",
        "h\u00f6st",
        "a?b",
        "a" * 300,
    ],
)
def test_what_could_break_out_of_a_header_is_no_host(host: str | None) -> None:
    """A host that a challenge could not quote, or that is no name, counts as not given."""
    assert host_or_nothing(host) == ""


def test_long_texts_are_not_remembered() -> None:
    """What anybody may send, of any length, takes no memory once it is refused."""
    tracemalloc.start()
    try:
        for number in range(500):
            long = f"{number}.example" + "x" * 100_000
            assert host_or_nothing(long) == ""
            assert parse_address(long) is None
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 1_000_000
