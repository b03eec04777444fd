"""Plain HTTP beside HTTPS: everything is sent to the same path there, and nothing is served."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from cargohold.http.redirect import HEAD_BYTES, MOST_CONNECTIONS, answer_to
from tests.http.securing import secured
from tests.http.serving import ECHO, PROJECT, until
from tests.http.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.http.securing import Secured


def head(first: str, *lines: str) -> bytes:
    return "\r\n".join([first, *lines, "", ""]).encode("latin-1")


def location(answer: bytes) -> str:
    lines = answer.decode().split("\r\n")
    assert lines[0] == "HTTP/1.1 308 Permanent Redirect"
    assert lines[2:] == ["Content-Length: 0", "Connection: close", "", ""]
    return lines[1].removeprefix("Location: ")


@pytest.mark.parametrize(
    ("host", "port", "authority", "place"),
    [
        ("registry.example.com", 443, None, "registry.example.com"),
        ("registry.example.com:80", 443, None, "registry.example.com"),
        ("registry.example.com", 5443, None, "registry.example.com:5443"),
        ("registry_1:5080", 5443, None, "registry_1:5443"),
        ("127.0.0.1:5080", 5443, None, "127.0.0.1:5443"),
        ("[::1]:5080", 5443, None, "[::1]:5443"),
        ("[2001:db8::1]", 443, None, "[2001:db8::1]"),
        ("whatever", 5443, "registry.example.com", "registry.example.com"),
        ("whatever", 5443, "registry.example.com:8443", "registry.example.com:8443"),
    ],
)
def test_where_it_leads(host: str, port: int, authority: str | None, place: str) -> None:
    """To the host that was asked, on the port of TLS, or to the public address where there is one."""
    given = head("GET /v2/a/tags/list?n=1&last=b HTTP/1.1", f"Host: {host}")
    assert location(answer_to(given, port, authority)) == f"https://{place}/v2/a/tags/list?n=1&last=b"


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
def test_any_method(method: str) -> None:
    """The status tells clients to ask again with the same method."""
    given = head(f"{method} /v2/ HTTP/1.1", "accept: */*", "hOsT:  registry ")
    assert location(answer_to(given, 443)) == "https://registry/v2/"


def test_a_path_stays_as_it_was_sent() -> None:
    """Nothing is decoded, and two slashes lead to no other host."""
    given = head("GET //evil.example/%2e%2e/%0d%0aX: HTTP/1.1", "Host: registry")
    assert location(answer_to(given, 443)) == "https://registry//evil.example/%2e%2e/%0d%0aX:"
    given = head("GET http://elsewhere/v2/ HTTP/1.1", "Host: registry")
    assert location(answer_to(given, 443)) == "https://registry/v2/"


@pytest.mark.parametrize(
    "given",
    [
        b"",
        b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
        head("GET / HTTP/2.0", "Host: registry"),
        head("GET v2/ HTTP/1.1", "Host: registry"),
        head("GET  /v2/ HTTP/1.1", "Host: registry"),
        head("GET /v2/\x7f HTTP/1.1", "Host: registry"),
        head("GET /v\xe9/ HTTP/1.1", "Host: registry"),
        head("GET /v2/\n HTTP/1.1", "Host: registry"),
        head("CONNECT registry:443 HTTP/1.1", "Host: registry"),
        head("OPTIONS * HTTP/1.1", "Host: registry"),
        head("GET /v2/ HTTP/1.1"),
        head("GET /v2/ HTTP/1.1", "Host:"),
        head("GET /v2/ HTTP/1.1", "Host: one", "Host: two"),
        head("GET /v2/ HTTP/1.1", "Host: user@registry"),
        head("GET /v2/ HTTP/1.1", "Host: registry/path"),
        head("GET /v2/ HTTP/1.1", "Host: registry:port"),
        head("GET /v2/ HTTP/1.1", "Host: re gistry"),
        head("GET /v2/ HTTP/1.1", "Host: registry\nX-Injected: 1"),
        head("GET /v2/ HTTP/1.1", "Host: r\xe9gistry"),
    ],
)
def test_what_does_not_say_what_it_asks_of_whom(given: bytes) -> None:
    """It is refused in words, and nothing of it is said back."""
    answer = answer_to(given, 443).decode()
    top, _, body = answer.partition("\r\n\r\n")
    assert top.startswith("HTTP/1.1 400 Bad Request\r\n")
    assert f"Content-Length: {len(body)}" in top
    assert "Location" not in answer
    assert "njected" not in answer


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def plain() -> int:
    return free_port()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, plain: int) -> Iterator[Secured]:
    with secured(tmp_path_factory.mktemp("redirect"), workers=2, redirect_port=plain) as started:
        yield started


def test_the_listener(running: Secured, plain: int) -> None:
    """It answers each connection once, then ends it; a body is not waited for."""
    for _ in range(20):
        with Wire(f"http://127.0.0.1:{plain}") as wire:
            answer = wire.ask("GET", "/v2/?a=b")
            assert (answer.status, answer["location"]) == (308, f"https://registry:{running.port}/v2/?a=b")
            assert wire.closed()
    with Wire(f"http://127.0.0.1:{plain}") as wire:
        wire.request("PUT", "/v2/", "Content-Length: 1000000000")
        wire.send(bytes(10_000))
        assert wire.response().status == 308
    assert running.server.stderr() == f"ready {running.server.address}\n"


def test_a_head_without_end(running: Secured, plain: int) -> None:
    """A head that grows past its limit is refused; the connection of a client that says nothing is ended."""
    with Wire(f"http://127.0.0.1:{plain}") as wire, Wire(f"http://127.0.0.1:{plain}") as silent:
        wire.send(b"GET / HTTP/1.1\r\nX: " + b"x" * (HEAD_BYTES + 1000))
        assert wire.response().status == 400
        assert silent.closed()
    assert running.server.stderr() == f"ready {running.server.address}\n"


def test_many_silent_clients(running: Secured, plain: int) -> None:
    """There are only so many connections at a time; who is turned away, or waits, harms nobody on the other port."""
    clients = [Wire(f"http://127.0.0.1:{plain}") for _ in range(2 * MOST_CONNECTIONS + 100)]
    with running.connect() as wire:
        assert wire.ask("GET", "/v2/").status == 200
    for client in clients:
        assert client.closed()
        client.socket.close()
    with Wire(f"http://127.0.0.1:{plain}") as wire:
        assert wire.ask("GET", "/v2/").status == 308


def test_the_public_address(tmp_path: Path) -> None:
    """Where the server is told what clients call it, that is where they are sent."""
    port = free_port()
    with secured(tmp_path, redirect_port=port, public_url="https://registry.example.com/") as secure:
        with Wire(f"http://127.0.0.1:{port}") as wire:
            assert wire.ask("GET", "/v2/")["location"] == "https://registry.example.com/v2/"
        assert secure.server.stop() == 0


def test_a_port_in_use_is_refused(running: Secured, plain: int, tmp_path: Path) -> None:
    """It is said which setting has to change, in one line."""
    tls = {"certificate": str(running.folder / "certificate"), "key": str(running.folder / "key")}
    command = [sys.executable, "-m", ECHO, str(tmp_path), json.dumps({"tls": tls, "redirect_port": plain})]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        f"cargohold: tls.redirect_port: cannot listen on 127.0.0.1:{plain}: Address already in use;"
        " choose another port\n"
    )


def test_it_outlives_a_renewal(tmp_path: Path) -> None:
    """Workers that retire leave the listener to those that follow; after the stop nothing answers."""
    port = free_port()
    with secured(tmp_path, workers=2, redirect_port=port) as secure:
        new = secure.renew()
        until(lambda: secure.fingerprint() == new.fingerprint)
        for _ in range(20):
            with Wire(f"http://127.0.0.1:{port}") as wire:
                assert wire.ask("GET", "/v2/").status == 308
        assert secure.server.stop() == 0
        with pytest.raises(ConnectionRefusedError):
            Wire(f"http://127.0.0.1:{port}")
