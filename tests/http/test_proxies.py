"""Who is believed about whence a request comes, and what."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cargohold.http.proxies import forwarded
from cargohold.messages import Empty
from tests.http.http2 import Http2Client
from tests.http.serving import ASGI_ECHO, ECHO, serving
from tests.routes.caller import answered, request

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cargohold.messages import Answer, Request

TRUSTED = ["10.0.0.0/8", "2001:db8:1::/48", "unix"]


def seen(
    peer: str, *lines: tuple[str, str], trusted: Sequence[str] = TRUSTED, scheme: str = "http"
) -> tuple[str, str]:
    """The client and the scheme that the registry sees of a request from `peer` with these header lines."""
    passed: list[Request] = []

    async def handle(asked: Request) -> Answer:
        passed.append(asked)
        return Empty(200, [])

    asked = request("GET", "/v2/", lines)
    asked.client, asked.scheme = peer, scheme
    answered(forwarded(handle, trusted), asked)
    return passed[0].client, passed[0].scheme


def client(peer: str, *lines: str, trusted: Sequence[str] = TRUSTED) -> str:
    """The client behind `peer`, by these lines of X-Forwarded-For."""
    return seen(peer, *(("X-Forwarded-For", line) for line in lines), trusted=trusted)[0]


@pytest.mark.parametrize("peer", ["192.0.2.1", "2001:db8:2::1", "", "11.0.0.1", "testclient"])
def test_nobody_else_is_believed(peer: str) -> None:
    """From whoever is no trusted proxy the headers change nothing."""
    lines = ("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-Proto", "https")
    assert seen(peer, *lines, trusted=["10.0.0.0/8", "2001:db8:1::/48"]) == (peer, "http")


@pytest.mark.parametrize("peer", ["10.1.2.3", "::ffff:10.1.2.3", "2001:db8:1::5", ""])
def test_a_trusted_proxy_is_believed(peer: str) -> None:
    """Whatever form its address has, and by the Unix socket where that is trusted."""
    lines = ("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-Proto", "https")
    assert seen(peer, *lines) == ("203.0.113.9", "https")


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ([], "10.0.0.1"),
        (["203.0.113.9"], "203.0.113.9"),
        (["203.0.113.9, 10.0.0.2"], "203.0.113.9"),
        (["203.0.113.9,10.0.0.2,10.0.0.3"], "203.0.113.9"),
        (["203.0.113.9", "10.0.0.2"], "203.0.113.9"),
        (["10.0.0.2", "203.0.113.9"], "203.0.113.9"),
        (["198.51.100.1, 203.0.113.9"], "203.0.113.9"),
        (["198.51.100.1", "203.0.113.9"], "203.0.113.9"),
        (["198.51.100.1, 203.0.113.9, 10.0.0.2"], "203.0.113.9"),
        (["10.0.0.9, 203.0.113.9, 10.0.0.2"], "203.0.113.9"),
        (["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        (["203.0.113.9:4711"], "203.0.113.9"),
        (["[2001:db8:2::9]:4711"], "2001:db8:2::9"),
        (["2001:DB8:2:0::9"], "2001:db8:2::9"),
        (["203.0.113.9, ::ffff:10.0.0.2"], "203.0.113.9"),
        (["::ffff:203.0.113.9"], "203.0.113.9"),
        (["\t203.0.113.9 "], "203.0.113.9"),
        (["198.51.100.1, unknown, 10.0.0.2"], "10.0.0.2"),
        (["198.51.100.1, _hidden"], "10.0.0.1"),
        (["203.0.113.9, "], "10.0.0.1"),
        ([""], "10.0.0.1"),
    ],
)
def test_the_client_is_the_rightmost_that_is_no_proxy(lines: list[str], found: str) -> None:
    """What stands left of it anybody may have written; garbage ends the walk, and the last good address counts."""
    assert client("10.0.0.1", *lines) == found


@given(st.lists(st.text("0123456789abcdef.:,[] \t", max_size=40), max_size=4))
def test_what_a_client_writes_never_counts(forged: list[str]) -> None:
    """Whatever it sends, on the line that the proxy adds to or on others, it is seen as what the proxy saw."""
    assert client("10.0.0.1", *forged, "203.0.113.9") == "203.0.113.9"
    assert client("10.0.0.1", ", ".join([*forged, "203.0.113.9"])) == "203.0.113.9"


def test_a_line_that_cannot_be_read_makes_nobody_a_proxy() -> None:
    """A client that hides what its proxy writes, behind a byte beyond ASCII, is not taken for the proxy."""
    assert client("10.0.0.1", "\xe9, 203.0.113.9") == ""


@pytest.mark.parametrize(
    ("lines", "scheme", "found"),
    [
        (["https"], "http", "https"),
        (["http"], "https", "http"),
        (["HTTPS"], "http", "https"),
        (["http, https"], "http", "https"),
        (["https", "http"], "https", "http"),
        (["ftp"], "http", "http"),
        (["javascript:"], "https", "https"),
        ([""], "https", "https"),
        ([], "https", "https"),
    ],
)
def test_the_scheme_is_the_nearest_proxys(lines: list[str], scheme: str, found: str) -> None:
    """The last value counts, in any letter case; what is not http or https is not taken."""
    assert seen("10.0.0.1", *(("X-Forwarded-Proto", line) for line in lines), scheme=scheme)[1] == found


def test_other_headers_are_not_read() -> None:
    """Neither `Forwarded` nor `X-Real-IP` nor the forwarded host or port says anything to us."""
    lines = (
        ("Forwarded", "for=203.0.113.9;proto=https;host=evil"),
        ("X-Real-IP", "203.0.113.9"),
        ("X-Forwarded-Host", "evil"),
        ("X-Forwarded-Port", "443"),
    )
    assert seen("10.0.0.1", *lines) == ("10.0.0.1", "http")


@pytest.mark.parametrize("case", [ECHO, ASGI_ECHO])
def test_the_host_is_what_the_client_asked(tmp_path: Path, case: str) -> None:
    """The Host header as it stands, where it is a host; what could break out of a challenge counts as not given."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with serving(tmp_path, case, port=port) as server:
        for host, found in (
            ("registry.example.com:5000", "registry.example.com:5000"),
            ("[::1]:80", "[::1]:80"),
            ('a",b="', ""),
            ("user@host", ""),
            ("h\xf6st", ""),
            ("", ""),
        ):
            with server.connect() as wire:
                wire.send(f"GET /v2/ HTTP/1.1\r\nHost: {host}\r\n\r\n".encode("latin-1"))
                assert json.loads(wire.response().body)["host"] == found, host


def test_the_host_of_an_address_in_absolute_form(tmp_path: Path) -> None:
    """It counts for more than the Host header (RFC 9112, 3.2.2)."""
    with serving(tmp_path) as server, server.connect() as wire:
        assert json.loads(wire.ask("GET", "http://elsewhere:5000/v2/").body)["host"] == "elsewhere:5000"


def test_the_host_over_http2(tmp_path: Path) -> None:
    """It is the authority (RFC 9113, 8.3.1)."""
    with serving(tmp_path, http2=True) as server, Http2Client(server.address) as connection:
        answer = connection.response(connection.request("GET", "/v2/"))
        assert json.loads(answer.body)["host"] == "registry"
