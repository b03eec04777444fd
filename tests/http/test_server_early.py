"""Answers that come before the body is read: they reach the client, however much it is still sending."""

from __future__ import annotations

import http.client
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.e2e.clients.absence import require
from tests.http.serving import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.http.serving import Serving

STATUSES = [400, 404, 413]
LARGE = 50_000_000


@pytest.fixture(scope="module", params=[False, True], ids=["HTTP/1.1 alone", "with HTTP/2"])
def server(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("early"), http2=request.param) as running:
        yield running


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("pieces", [0, 3])
def test_the_answer_follows_a_body_sent_whole(server: Serving, status: int, pieces: int) -> None:
    """A client that sends 50 MB before it reads gets the early answer, and may go on with the connection."""
    with server.connect() as wire:
        wire.request("PUT", f"/early?status={status}&pieces={pieces}", f"Content-Length: {LARGE}")
        wire.send(b"x" * LARGE)
        assert wire.response().status == status
        assert wire.ask("GET", "/v2/").status == 200


def test_the_answer_comes_before_the_body(server: Serving) -> None:
    """A client that reads at once has the answer before it has sent its body."""
    with server.connect() as wire:
        wire.request("PUT", "/early?status=404", "Content-Length: 10")
        assert wire.response().status == 404
        wire.send(b"0123456789")
        assert wire.ask("GET", "/v2/").status == 200


def test_chunked_bodies_are_read_to_their_end(server: Serving) -> None:
    """A chunked body of 50 MB that nobody wants does not cost the client its answer."""
    with server.connect() as wire:
        wire.request("PATCH", "/early?status=404", "Transfer-Encoding: chunked")
        for _ in range(50):
            wire.chunk(b"x" * 1_000_000)
        wire.chunk(b"")
        assert wire.response().status == 404
        assert wire.ask("GET", "/v2/").status == 200


def test_a_client_that_stops_sending_is_let_go(server: Serving) -> None:
    """After an early answer a body that stalls ends the connection: it does not hold its place."""
    with server.connect() as wire:
        wire.request("PUT", "/early?status=404", "Content-Length: 10")
        assert wire.response().status == 404
        assert wire.closed()


def test_a_client_that_waits_for_leave_is_not_asked_on(server: Serving) -> None:
    """With `Expect: 100-continue` an early answer is final: no 100 before or after it, and the connection ends."""
    with server.connect() as wire:
        wire.request("PUT", "/early?status=413", "Content-Length: 10", "Expect: 100-continue")
        assert wire.response().status == 413
        assert wire.closed()


@pytest.mark.parametrize("status", STATUSES)
def test_python_gets_the_answer(server: Serving, status: int) -> None:
    """http.client, which sends all before it reads, gets the early answer to 50 MB."""
    connection = http.client.HTTPConnection(server.address.removeprefix("http://"), timeout=30)
    connection.request("PUT", f"/early?status={status}", body=b"x" * LARGE)
    assert connection.getresponse().status == status
    connection.close()


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("headers", [["Expect:"], [], ["Transfer-Encoding: chunked", "Expect:"]])
def test_curl_gets_the_answer(server: Serving, tmp_path: Path, status: int, headers: list[str]) -> None:
    """The program curl gets the early answer to 50 MB, with or without waiting for leave, and chunked."""
    body = tmp_path / "body"
    with body.open("wb") as file:
        file.truncate(LARGE)
    options = [option for header in headers for option in ("-H", header)]
    command = [
        require("curl"),
        "-sS",
        "-m",
        "30",
        "-T",
        str(body),
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        *options,
    ]
    done = subprocess.run(
        [*command, f"{server.address}/early?status={status}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, str(status)), done.stderr
