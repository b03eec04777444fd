"""The registry on an ASGI server, and the corners of the protocol that no server can be made to show."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import socket
from typing import TYPE_CHECKING, Any

import pytest

from cargohold.http.asgi import AsgiApplication
from cargohold.messages import Bytes, Empty, File, Request
from tests.http.serving import ASGI_ECHO, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cargohold.messages import Answer
    from tests.http.serving import Serving

CONTENT = bytes(range(256)) * 4096


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    root = tmp_path_factory.mktemp("asgi")
    (root / "content").write_bytes(CONTENT)
    (root / "empty").touch()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with serving(root, ASGI_ECHO, port=port) as started:
        yield started


@pytest.fixture
def server(running: Serving) -> Serving:
    running.forget_outcomes()
    return running


def test_requests_arrive_as_over_rsgi(server: Serving) -> None:
    """Paths are decoded once, queries not; each header line is given; values outside ASCII are left out."""
    with server.connect() as wire:
        lines = ("Accept: a/b", "ACCEPT: c/d", "Authorization: Basic \xe9")
        seen = json.loads(wire.ask("GET", "/v2/a%2Fb/%ff%00?c=%2F", *lines).body)
    assert seen["path"] == "/v2/a/b/\ufffd\0"
    assert seen["query"] == "c=%2F"
    assert seen["accept"] == ["a/b", "c/d"]
    assert (seen["authorization"], seen["authorization named"]) == (None, True)
    assert (seen["client"], seen["scheme"], seen["length"]) == ("127.0.0.1", "http", 0)


def test_a_line_that_cannot_be_read_is_not_passed_over(server: Serving) -> None:
    """A header of two lines, of which one is beyond ASCII, is not taken for one of a single line."""
    bad, good = "Authorization: Basic \xe9", "Authorization: Basic eA=="
    with server.connect() as wire:
        for lines, found in (([good], "Basic eA=="), ([good, bad], None), ([bad, good], None)):
            seen = json.loads(wire.ask("GET", "/v2/", *lines).body)
            assert (seen["authorization"], seen["authorization named"]) == (found, True)


def test_files_and_heads(server: Serving) -> None:
    """A file is sent whole or in part; a HEAD has the length and no body."""
    with server.connect() as wire:
        assert wire.ask("GET", "/file?name=content").body == CONTENT
        assert wire.ask("GET", "/file?name=content&start=5&stop=700000").body == CONTENT[5:700_000]
        assert wire.ask("GET", "/file?name=content&start=1000").body == CONTENT[1000:]
        assert wire.ask("GET", "/file?name=empty").body == b""
        assert wire.ask("HEAD", "/file?name=content")["content-length"] == str(len(CONTENT))
        assert wire.ask("HEAD", "/bytes?n=12345")["content-length"] == "12345"
        assert wire.ask("GET", "/sleep?seconds=0").status == 204
        assert wire.ask("GET", "/v2/").status == 200


def test_a_file_that_ends_early_is_not_ended_as_whole(server: Serving) -> None:
    """Where the file has fewer bytes than were announced the client sees fewer, and the end of the connection."""
    with server.connect() as wire:
        response = wire.ask("GET", f"/file?name=content&claim={len(CONTENT) + 1}")
        assert not response.complete


@pytest.mark.parametrize("size", [1, 1_000_000])
def test_a_file_that_vanished_is_an_error_in_json(server: Serving, size: int) -> None:
    """A file that goes after the route has answered is the JSON form of an unknown blob."""
    (server.root / "doomed").write_bytes(b"x" * size)
    with server.connect() as wire:
        response = wire.ask("GET", "/file?name=doomed&vanish=1")
        assert response.status == 404
        assert json.loads(response.body)["errors"][0]["code"] == "BLOB_UNKNOWN"


def test_faults_and_what_is_too_large(server: Serving) -> None:
    """A fault is a 500 that tells nothing, a long address a 414, large headers a 431."""
    with server.connect() as wire:
        assert wire.ask("GET", "/boom").status == 500
        assert wire.ask("GET", "/" + "a" * 9000).status == 414
        assert wire.ask("GET", "/", "X-Large: " + "a" * 70000).status == 431


def test_bodies_arrive_whole(server: Serving) -> None:
    """A body arrives byte for byte, with a length and chunked, and after `100 Continue`."""
    digest = hashlib.sha256(CONTENT).hexdigest()
    with server.connect() as wire:
        assert json.loads(wire.ask("PUT", "/hash", body=CONTENT).body)["sha256"] == digest
        wire.request("PATCH", "/hash", "Transfer-Encoding: chunked")
        wire.chunk(CONTENT[:1000])
        wire.chunk(CONTENT[1000:])
        wire.chunk(b"")
        assert json.loads(wire.response().body)["sha256"] == digest
        wire.request("PUT", "/hash", "Content-Length: 3", "Expect: 100-continue")
        assert wire.response().status == 100
        wire.send(b"abc")
        assert wire.response().status == 201


@pytest.mark.parametrize(
    ("coding", "sent"),
    [
        ("Content-Length: 10", b"abc"),
        ("Transfer-Encoding: chunked", b"3\r\nabc\r\n"),
        ("Transfer-Encoding: chunked", b"3\r\nabc\r\n100\r\nabc"),
    ],
)
def test_a_body_that_is_cut_off_is_an_error(server: Serving, coding: str, sent: bytes) -> None:
    """A client that vanishes in mid-upload leaves no body that seems whole."""
    wire = server.connect()
    wire.request("PUT", "/hash", coding)
    wire.send(sent)
    server.until_outcome("reading")
    wire.reset()
    assert server.outcome_of_reading().startswith("SizeInvalid")


def test_a_body_that_stalls_is_given_up(server: Serving) -> None:
    """A client that sends nothing for the stall timeout gets 408."""
    with server.connect() as wire:
        wire.request("PUT", "/hash", "Content-Length: 10")
        assert wire.response().status == 408


@pytest.mark.parametrize("pieces", [0, 3])
def test_early_answers_reach_the_client(server: Serving, pieces: int) -> None:
    """A client that sends 50 MB before it reads gets the answer that came before."""
    with server.connect() as wire:
        wire.request("PUT", f"/early?status=404&pieces={pieces}", "Content-Length: 50000000")
        wire.send(b"x" * 50_000_000)
        assert wire.response().status == 404


def test_a_client_that_waits_for_leave_is_not_asked_on(server: Serving) -> None:
    """With `Expect: 100-continue` an early answer comes without a 100 before it."""
    with server.connect() as wire:
        wire.request("PUT", "/early?status=413", "Content-Length: 10", "Expect: 100-continue")
        assert wire.response().status == 413


def test_clients_that_vanish_in_a_download_are_forgotten(server: Serving) -> None:
    """A file whose client is gone is closed."""
    large = server.root / "large"
    with large.open("wb") as file:
        file.truncate(1 << 30)
    for _ in range(5):
        wire = server.connect(receive_buffer=4096)
        wire.request("GET", "/file?name=large")
        assert wire.head().status == 200
        wire.reset()
    server.until_no_descriptor_of(os.fspath(large))


def test_a_lifespan_begins_and_ends_the_background_tasks(tmp_path: Path) -> None:
    """The hooks run at startup and shutdown."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with serving(tmp_path, ASGI_ECHO, port=port) as server:
        assert server.outcomes() == ["started"]
        assert server.stop() == 0
        assert server.outcomes() == ["started", "stopped"]


class Exchange:
    """One request as an ASGI server would make it, and all that the application sends."""

    def __init__(self, *events: dict[str, Any], **scope: Any) -> None:
        self._events = list(events)
        self.sent: list[dict[str, Any]] = []
        self.scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "GET",
            "path": "/",
            "query_string": b"",
            "headers": [],
            **scope,
        }

    async def receive(self) -> dict[str, Any]:
        if self._events:
            return self._events.pop(0)
        await asyncio.sleep(60)
        raise AssertionError("the application waited for more")

    async def send(self, event: Any) -> None:
        self.sent.append(event)

    def run(self, application: AsgiApplication) -> None:
        asyncio.run(application(self.scope, self.receive, self.send))


async def path_seen(request: Request) -> Answer:
    return Bytes(200, [], request.path.encode())


@pytest.mark.parametrize(("target", "status"), [("/v2/", 200), ("/boom", 500), ("/" + "a" * 9000, 414)])
def test_every_answer_bears_the_extra_headers(server: Serving, target: str, status: int) -> None:
    """They stand in the answers of the application, to a fault of it and to what is refused before it."""
    with server.connect() as wire:
        response = wire.ask("GET", target)
        assert (response.status, response["x-extra"]) == (status, "1")


@pytest.mark.parametrize(
    ("scope", "path"),
    [
        ({"path": "/v2/\u20ac"}, "/v2/\u20ac"),
        ({"path": "/v2/x", "raw_path": b"/v2/%e2%82%ac"}, "/v2/\u20ac"),
        ({"path": "/mounted/v2/x", "root_path": "/mounted"}, "/v2/x"),
        ({"path": "/m/v2/x", "raw_path": b"/m/v2/%78", "root_path": "/m"}, "/v2/x"),
    ],
)
def test_paths_of_servers_that_differ(scope: dict[str, Any], path: str) -> None:
    """The raw path is used where the server gives it, and what stands before a mounted registry is taken off."""
    exchange = Exchange(**scope)
    exchange.run(AsgiApplication(path_seen))
    assert exchange.sent[1]["body"].decode() == path


def test_a_length_is_sent_once() -> None:
    """A Content-Length that the route gave stands; where it gave none it is added, except to bodiless statuses."""

    def lengths(answer: Answer, method: str = "GET") -> list[bytes]:
        async def handler(_: Request) -> Answer:
            return answer

        exchange = Exchange(method=method)
        exchange.run(AsgiApplication(handler))
        return [value for name, value in exchange.sent[0]["headers"] if name == b"content-length"]

    assert lengths(Empty(202, [])) == [b"0"]
    assert lengths(Empty(202, [("content-length", "0")])) == [b"0"]
    assert lengths(Empty(204, [])) == []
    assert lengths(Empty(304, [])) == []
    assert lengths(Bytes(200, [], b"abc")) == [b"3"]
    assert lengths(Bytes(200, [], b"abc"), "HEAD") == [b"3"]
    assert lengths(Empty(200, [("content-length", "9")]), "HEAD") == [b"9"]
    assert lengths(Empty(200, []), "HEAD") == []


def test_a_download_ends_with_its_client(tmp_path: Path) -> None:
    """Servers that swallow what is sent to a client that left are not fed the rest of the file."""
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(1 << 30)

    async def handler(_: Request) -> Answer:
        return File(200, [("content-length", str(1 << 30))], os.fspath(path))

    exchange = Exchange({"type": "http.request"}, {"type": "http.disconnect"})
    exchange.run(AsgiApplication(handler))
    assert sum(len(event.get("body", b"")) for event in exchange.sent) < 1 << 29
    assert exchange.sent[-1].get("more_body", True)


def test_a_start_that_fails_is_told() -> None:
    """A hook that raises fails the startup, with its reason."""

    def start(_: asyncio.AbstractEventLoop) -> None:
        raise OSError("no room")

    exchange = Exchange({"type": "lifespan.startup"}, type="lifespan")
    with pytest.raises(OSError, match="no room"):
        exchange.run(AsgiApplication(path_seen, start=start))
    assert exchange.sent == [{"type": "lifespan.startup.failed", "message": "no room"}]


def test_other_protocols_are_refused() -> None:
    """What is neither HTTP nor lifespan raises, as the ASGI specification asks."""
    with pytest.raises(ValueError, match="websocket"):
        Exchange(type="websocket").run(AsgiApplication(path_seen))
