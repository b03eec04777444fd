"""What of a request reaches the application, and what the server answers by itself."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.http.serving import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.http.serving import Serving
    from tests.http.wire import Response


@pytest.fixture(scope="module", params=[False, True], ids=["HTTP/1.1 alone", "with HTTP/2"])
def server(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("requests"), http2=request.param) as running:
        yield running


def seen(server: Serving, target: str, *headers: str, method: str = "GET") -> dict[str, Any]:
    """The request as the application saw it."""
    with server.connect() as wire:
        value: dict[str, Any] = json.loads(wire.ask(method, target, *headers).body)
        return value


def errors(response: Response) -> list[dict[str, str]]:
    assert response["content-type"] == "application/json"
    found: list[dict[str, str]] = json.loads(response.body)["errors"]
    return found


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/v2/a%2Fb/tags/list", "/v2/a/b/tags/list"),
        ("/v2/%00", "/v2/\0"),
        ("/v2/%ff%fe", "/v2/\ufffd\ufffd"),
        ("/v2/%e2%82%ac", "/v2/\u20ac"),
        ("/v2/%252f", "/v2/%2f"),
        ("/v2//a/../b/.", "/v2//a/../b/."),
        ("/v2/a%3Fb", "/v2/a?b"),
        ("/v2/a+b", "/v2/a+b"),
        ("http://elsewhere/v2/x", "/v2/x"),
        ("*", "*"),
    ],
)
def test_paths_arrive_decoded_once(server: Serving, target: str, path: str) -> None:
    """A path is percent-decoded once, what is not UTF-8 replaced, and never normalised."""
    assert seen(server, target, method="OPTIONS" if target == "*" else "GET")["path"] == path


def test_length_of_many_digits(server: Serving) -> None:
    """A length is the number that its digits write, however many of them are zeros."""
    zeros = "0" * 5_000
    assert seen(server, "/v2/", f"Content-Length: {zeros}")["length"] == 0
    with server.connect() as wire:
        wire.request("PUT", "/hash", f"Content-Length: {zeros}3")
        wire.send(b"abc")
        assert json.loads(wire.response().body)["received"] == 3


def test_queries_arrive_as_sent(server: Serving) -> None:
    """A query is not decoded: `+` and `%2F` are the router's to read."""
    request = seen(server, "/v2/x?digest=sha256%3Aab&a=+&a=%2F")
    assert request["path"] == "/v2/x"
    assert request["query"] == "digest=sha256%3Aab&a=+&a=%2F"


def test_each_line_of_a_header_is_given(server: Serving) -> None:
    """Several lines of one name arrive in their order, whatever the case of the name."""
    request = seen(server, "/v2/", "Accept: a/b", "ACCEPT: c/d;q=0.5, e/f", "accept:")
    assert request["accept"] == ["a/b", "c/d;q=0.5, e/f", ""]


def test_values_that_are_not_ascii_are_absent(server: Serving) -> None:
    """A header value with bytes outside ASCII is left out; that its line was there, and was the first, can be told."""
    bad, good = "Authorization: Basic \xe9", "Authorization: Basic eA=="
    for lines, named in (([bad], True), ([bad, good], True), ([], False)):
        request = seen(server, "/v2/", *lines)
        assert (request["authorization"], request["authorization named"]) == (None, named)


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "PURGE"])
def test_no_body_has_the_length_zero(server: Serving, method: str) -> None:
    """Without Content-Length and Transfer-Encoding an HTTP/1.1 request has a body of length 0 (RFC 9112, 6.3)."""
    request = seen(server, "/v2/", method=method)
    assert request["length"] == 0
    assert request["method"] == method


def test_the_client_is_an_address_without_port(server: Serving) -> None:
    """`client` is the bare address, `scheme` http."""
    request = seen(server, "/v2/")
    assert (request["client"], request["scheme"]) == ("127.0.0.1", "http")


def test_pipelined_requests_are_answered_in_order(server: Serving) -> None:
    """Requests sent at once on one connection are answered one by one in their order (RFC 9112, 9.3.2)."""
    with server.connect() as wire:
        for size in range(20):
            wire.request("GET", f"/bytes?n={size}")
        assert [len(wire.response().body) for _ in range(20)] == list(range(20))


def test_http_1_0_is_answered_and_closed(server: Serving) -> None:
    """An HTTP/1.0 client gets its answer and the end of the connection; no Host is needed."""
    with server.connect() as wire:
        wire.send(b"GET /v2/ HTTP/1.0\r\n\r\n")
        assert wire.response().status == 200
        assert wire.closed()


@pytest.mark.parametrize(
    ("target", "headers", "status"),
    [
        ("/" + "a" * 9000, [], 414),
        ("/?" + "a" * 9000, [], 414),
        ("/", ["X-Large: " + "a" * 70000], 431),
        ("/", [f"X-{number}: {'a' * 8000}" for number in range(9)], 431),
    ],
)
def test_what_is_too_large_is_told_so(server: Serving, target: str, headers: list[str], status: int) -> None:
    """An address over 8 KiB is a 414 and headers over 64 KiB are a 431, in the form of every error."""
    with server.connect() as wire:
        response = wire.ask("GET", target, *headers)
        assert response.status == status
        assert errors(response)[0]["code"] == "UNSUPPORTED"
        assert wire.ask("GET", "/v2/").status == 200


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /" + b"a" * 70000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nX-Large: ".ljust(128 * 1024, b"a"), 431),
        (b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: a\r\n" % n for n in range(101)) + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nX-Folded: a\r\n b\r\n\r\n", 400),
        (b"\x16\x03\x01\x00\xa5\r\n\r\n", 400),
        (b"PUT / HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n", 400),
        (b"PUT / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"PUT / HTTP/1.1\r\nContent-Length: +1\r\n\r\n", 400),
        (b"PUT / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nBad Name: a\r\n\r\n", 400),
    ],
)
def test_the_server_refuses_what_it_cannot_take(server: Serving, sent: bytes, status: int) -> None:
    """What the server cannot parse or hold never reaches the application: an empty answer, not ours, and the end."""
    with server.connect() as wire:
        wire.send(sent)
        response = wire.response()
        assert response.status == status
        assert response.body == b""
        assert "docker-distribution-api-version" not in response
        assert wire.closed()


def test_a_hundred_headers_are_taken(server: Serving) -> None:
    """The number of header lines that a request may have."""
    with server.connect() as wire:
        lines = [b"Host: a", *(b"X-%d: a" % number for number in range(99))]
        wire.send(b"\r\n".join([b"GET / HTTP/1.1", *lines, b"", b""]))
        assert wire.response().status == 200
