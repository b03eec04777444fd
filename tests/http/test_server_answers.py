"""What of an answer reaches the client, and that none is taken for whole that is not."""

from __future__ import annotations

import json
import os
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from tests.http.serving import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.http.serving import Serving

CONTENT = bytes(range(256)) * 4096


@pytest.fixture(scope="module", params=[False, True], ids=["HTTP/1.1 alone", "with HTTP/2"])
def server(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Serving]:
    root = tmp_path_factory.mktemp("answers")
    (root / "content").write_bytes(CONTENT)
    (root / "empty").touch()
    with serving(root, http2=request.param) as running:
        yield running


@pytest.mark.parametrize("target", ["/bytes?n=1234567", "/file?name=content", "/file?name=empty"])
def test_head_tells_the_length_and_sends_nothing(server: Serving, target: str) -> None:
    """A HEAD is answered with the Content-Length of the GET and no body: the next answer follows at once."""
    with server.connect() as wire:
        head = wire.ask("HEAD", target)
        get = wire.ask("GET", target)
        assert head["content-length"] == get["content-length"] == str(len(get.body))
        assert "transfer-encoding" not in head


@pytest.mark.parametrize(
    ("start", "stop"), [(0, 0), (0, 1), (5, 15), (1000, 0), (len(CONTENT) - 1, 0), (200_000, 700_000)]
)
def test_files_are_sent_as_asked(server: Serving, start: int, stop: int) -> None:
    """A file answer is the file's bytes from start up to but not including stop; stop 0 is the end."""
    with server.connect() as wire:
        response = wire.ask("GET", f"/file?name=content&start={start}&stop={stop}")
        assert response.body == CONTENT[start : stop or None]
        assert response.status == (206 if start or stop else 200)


@pytest.mark.parametrize(("target", "status"), [("/v2/", 200), ("/boom", 500), ("/" + "a" * 9000, 414)])
def test_every_answer_bears_the_extra_headers(server: Serving, target: str, status: int) -> None:
    """They stand in the answers of the application, to a fault of it and to what is refused before it."""
    with server.connect() as wire:
        response = wire.ask("GET", target)
        assert (response.status, response["x-extra"]) == (status, "1")


def test_an_empty_file_is_an_answer_of_length_zero(server: Serving) -> None:
    """A file without bytes is sent with Content-Length 0."""
    with server.connect() as wire:
        assert wire.ask("GET", "/file?name=empty").body == b""
        assert wire.ask("GET", "/v2/").status == 200


def test_a_file_that_ends_early_ends_the_connection(server: Serving) -> None:
    """An answer that cannot be made whole is cut off: the client sees fewer bytes than were announced."""
    with server.connect() as wire:
        response = wire.ask("GET", f"/file?name=content&claim={len(CONTENT) + 1}")
        assert response.status == 200
        assert not response.complete
        assert response.body == CONTENT
        assert wire.closed()


def test_a_small_file_that_is_too_short_is_a_fault(server: Serving) -> None:
    """Where the answer has not begun, a file with fewer bytes than were announced is a 500."""
    with server.connect() as wire:
        assert wire.ask("GET", "/file?name=empty&claim=10").status == 500
        assert wire.ask("GET", "/v2/").status == 200


@pytest.mark.parametrize("length", [500, 500_000])
def test_a_file_that_grew_is_sent_as_announced(server: Serving, length: int) -> None:
    """No more bytes are sent than the Content-Length says, and the connection stays in step."""
    with server.connect() as wire:
        assert wire.ask("GET", f"/file?name=content&claim={length}").body == CONTENT[:length]
        assert wire.ask("GET", "/v2/").status == 200


@pytest.mark.parametrize("size", [1, 1_000_000])
def test_a_file_that_vanished_is_an_error_in_json(server: Serving, size: int) -> None:
    """A file that goes after the route has answered is the JSON form of an unknown blob."""
    (server.root / "doomed").write_bytes(b"x" * size)
    with server.connect() as wire:
        response = wire.ask("GET", "/file?name=doomed&vanish=1")
        assert response.status == 404
        assert json.loads(response.body)["errors"][0]["code"] == "BLOB_UNKNOWN"


def test_a_file_that_comes_and_goes_is_whole_or_unknown(server: Serving) -> None:
    """While a file is moved away and back all the time, each answer is the whole of it or a 404, nothing else."""
    path, aside = server.root / "restless", server.root / "aside"
    path.write_bytes(CONTENT)
    over = threading.Event()

    def move() -> None:
        while not over.is_set():
            os.rename(path, aside)
            os.rename(aside, path)

    mover = threading.Thread(target=move)
    mover.start()
    try:
        with server.connect() as wire:
            answers = [wire.ask("GET", f"/file?name=restless&claim={len(CONTENT)}") for _ in range(300)]
    finally:
        over.set()
        mover.join()
    assert {answer.status for answer in answers} <= {200, 404}
    assert all(answer.body == CONTENT for answer in answers if answer.status == 200)
    assert all(answer.complete for answer in answers)


@pytest.mark.parametrize("length", [10, 100_000])
def test_a_file_that_cannot_be_opened_is_a_fault(server: Serving, length: int) -> None:
    """A file that is there and cannot be opened is a 500, not a 404: nobody is told that a blob is unknown.

    A socket stands for it: it cannot be opened even by root.
    """
    path = server.root / "socket"
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(os.fspath(path))
        with server.connect() as wire:
            response = wire.ask("GET", f"/file?name=socket&claim={length}")
            assert response.status == 500
            assert json.loads(response.body)["errors"][0]["code"] == "UNKNOWN"
    path.unlink()


@pytest.mark.parametrize("status", [200, 201, 202, 204, 206, 304, 400, 404, 416, 431, 507, 599])
def test_final_statuses_pass(server: Serving, status: int) -> None:
    """Every final status is sent as the application gives it, and the connection stays in step."""
    with server.connect() as wire:
        assert wire.ask("GET", f"/status?status={status}").status == status
        assert wire.ask("GET", "/v2/").status == 200


@pytest.mark.parametrize("status", [-1, 0, 42, 100, 199, 600, 1000, 70000])
def test_other_statuses_are_faults(server: Serving, status: int) -> None:
    """A status that no answer may have is our fault: 500, and the worker lives (the server would die of some)."""
    with server.connect() as wire:
        assert wire.ask("GET", f"/status?status={status}").status == 500
        assert wire.ask("GET", "/v2/").status == 200


def test_a_header_cannot_carry_another(server: Serving) -> None:
    """A header whose value holds a line break is left out by the server, and nothing of it is sent."""
    with server.connect() as wire:
        response = wire.ask("GET", "/status?status=200")
        assert response["x-good"] == "1"
        assert "x-bad" not in response
        assert "x-injected" not in response


def test_a_fault_is_a_500_that_tells_nothing(server: Serving) -> None:
    """An exception of the application is logged with its traceback; the client gets the JSON form without it."""
    with server.connect() as wire:
        response = wire.ask("GET", "/boom")
        assert response.status == 500
        assert json.loads(response.body)["errors"][0]["code"] == "UNKNOWN"
        assert b"secret" not in response.body
        assert wire.ask("GET", "/v2/").status == 200
    assert "RuntimeError: a secret of the inside" in server.stderr()


def test_clients_that_vanish_in_a_download_are_forgotten(server: Serving) -> None:
    """A connection that is reset in mid-answer leaves no descriptor open and no trace on stderr."""
    large = server.root / "large"
    with large.open("wb") as file:
        file.truncate(1 << 30)
    for _ in range(20):
        wire = server.connect(receive_buffer=4096)
        wire.request("GET", "/file?name=large")
        assert wire.head().status == 200
        wire.reset()
    server.until_no_descriptor_of(os.fspath(large))
    assert "large" not in server.stderr()
