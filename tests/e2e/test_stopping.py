"""A server that is stopped in the middle of large transfers: they finish, or are cut off and can be gone on with."""

from __future__ import annotations

import hashlib
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.e2e.medium import folder_in_memory
from tests.e2e.pushing import data_file, pull_blob, push_blob, start_upload
from tests.e2e.sandbox import SANDBOX
from tests.e2e.server import UNPRIVILEGED
from tests.http.serving import until
from tests.http.test_server_stop import accepts
from tests.http.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.conftest import Start
    from tests.e2e.server import Server

PIECE = 1 << 20
GIGABYTE = 1 << 30
SMALL = 64 << 20
ONE_AND_TWO = pytest.mark.parametrize("workers", [1, 2])


def piece(number: int) -> bytes:
    """Bytes told apart by their place."""
    return hashlib.sha256(b"%d" % number).digest() * (PIECE // 32)


def digest_of_pieces(size: int) -> str:
    hasher = hashlib.sha256()
    for number in range(size // PIECE):
        hasher.update(piece(number))
    return f"sha256:{hasher.hexdigest()}"


class Upload(threading.Thread):
    """A PUT of all pieces in one request, that pauses in its middle until it is let go."""

    def __init__(self, server: Server, size: int) -> None:
        super().__init__()
        self.digest, self._size = digest_of_pieces(size), size
        self.half_way, self.go_on = threading.Event(), threading.Event()
        self.status = 0
        self._wire = Wire(server.url)
        self.location = start_upload(self._wire, "app")

    def run(self) -> None:
        with self._wire as wire:
            wire.request("PUT", f"{self.location}?digest={self.digest}", f"Content-Length: {self._size}")
            for number in range(self._size // PIECE):
                if number == self._size // PIECE // 2:
                    self.half_way.set()
                    self.go_on.wait(60)
                wire.send(piece(number))
            self.status = wire.response(to="PUT").status


class Download(threading.Thread):
    """A GET that takes half of the blob, and the rest when it is let go. What it got is kept as a digest."""

    def __init__(self, server: Server, digest: str, size: int) -> None:
        super().__init__()
        self._wire, self._blob, self._size = Wire(server.url, receive_buffer=1 << 16), digest, size
        self.half_way, self.go_on = threading.Event(), threading.Event()
        self.digest = ""

    def run(self) -> None:
        hasher, received = hashlib.sha256(), 0
        with self._wire as wire:
            wire.request("GET", f"/v2/app/blobs/{self._blob}")
            assert wire.head()["content-length"] == str(self._size)
            data = wire._buffer or wire.socket.recv(PIECE)
            while data:
                hasher.update(data)
                received += len(data)
                if received >= self._size // 2 and not self.half_way.is_set():
                    self.half_way.set()
                    self.go_on.wait(60)
                data = wire.socket.recv(PIECE) if received < self._size else b""
        self.digest = f"sha256:{hasher.hexdigest()}"


@contextmanager
def storage(tmp_path: Path, size: int) -> Iterator[Path]:
    """In memory, where it is large."""
    if size < GIGABYTE:
        yield tmp_path / "data"
        return
    with folder_in_memory(tmp_path) as folder:
        yield folder / "data"


def push(server: Server, size: int) -> str:
    upload = Upload(server, size)
    upload.go_on.set()
    upload.start()
    upload.join(120)
    assert upload.status == 201
    return upload.digest


@ONE_AND_TWO
@pytest.mark.parametrize("size", [SMALL, pytest.param(GIGABYTE, marks=pytest.mark.slow)])
def test_transfers_finish(start: Start, tmp_path: Path, size: int, workers: int) -> None:
    """SIGTERM in the middle of an upload and of a download: no one else is let in, both come whole, exit 0.

    No privilege is needed for it.
    """
    with storage(tmp_path, size) as place:
        settings = {"workers": workers, "server.stop_timeout": 120}
        server = start(settings, storage=place, launcher=UNPRIVILEGED)
        digest = push(server, size)
        # Another upload of the same bytes: that it is known already is found out when all have come.
        transfers = Upload(server, size), Download(server, digest, size)
        for transfer in transfers:
            transfer.start()
        for transfer in transfers:
            assert transfer.half_way.wait(60)
        server.process.terminate()
        until(lambda: not accepts(server.url))
        assert server.process.poll() is None
        for transfer in transfers:
            transfer.go_on.set()
        for transfer in transfers:
            transfer.join(120)
        assert transfers[0].status == 201
        assert transfers[1].digest == digest
        assert server.process.wait(60) == 0
        assert "cut off" not in server.log


@ONE_AND_TWO
def test_a_kernel_that_lets_nobody_be_refused(start: Start, tmp_path: Path, workers: int) -> None:
    """It is said once; the stop is in order all the same, and what is under way has its answer."""
    server = start({"workers": workers}, storage=tmp_path / "data", launcher=SANDBOX)
    upload = Upload(server, SMALL)
    upload.start()
    assert upload.half_way.wait(60)
    server.process.terminate()
    until(lambda: "may be reset: Operation not permitted" in server.log)
    upload.go_on.set()
    upload.join(60)
    assert upload.status == 201
    assert server.process.wait(60) == 0
    assert server.log.count("may be reset") == 1
    assert '"level":"ERROR"' not in server.log


@ONE_AND_TWO
def test_what_is_cut_off_can_be_gone_on_with(start: Start, tmp_path: Path, workers: int) -> None:
    """At the time limit an upload is cut off; its session is there after the restart, with bytes, and goes on."""
    settings = {"workers": workers, "server.stop_timeout": 0.5}
    server = start(settings, storage=tmp_path / "data")
    upload = Upload(server, SMALL)
    with upload._wire as wire:
        wire.request("PATCH", upload.location, f"Content-Length: {SMALL}")
        for number in range(SMALL // PIECE // 2):
            wire.send(piece(number))
        assert server.stop() == 0
        assert wire.closed()
    assert "cut off" in server.log
    server = start(settings, storage=tmp_path / "data")
    whole = b"".join(map(piece, range(SMALL // PIECE)))
    with Wire(server.url) as wire:
        kept = int(wire.ask("GET", upload.location)["range"].partition("-")[2]) + 1
        assert 0 < kept <= SMALL // 2
        answer = wire.ask("PUT", f"{upload.location}?digest={upload.digest}", body=whole[kept:])
        assert answer.status == 201
        assert pull_blob(wire, "app", upload.digest) == whole


@ONE_AND_TWO
def test_the_second_signal_keeps_what_was_acknowledged(start: Start, tmp_path: Path, workers: int) -> None:
    """Whoever is in a hurry sends another signal: exit 1 at once; blobs and chunks that had their answer are there."""
    server = start({"workers": workers}, storage=tmp_path / "data")
    upload = Upload(server, SMALL)
    with upload._wire as wire:
        digest = push_blob(wire, "app", piece(0))
        chunk = wire.ask("PATCH", upload.location, body=piece(1))
        assert (chunk.status, chunk["range"]) == (202, f"0-{PIECE - 1}")
        wire.request("PATCH", upload.location, f"Content-Length: {SMALL}")
        wire.send(piece(2))
        server.process.terminate()
        until(lambda: not accepts(server.url))
        server.process.terminate()
        assert server.process.wait(30) == 1
    server = start({"workers": workers}, storage=tmp_path / "data")
    assert data_file(server, digest).read_bytes() == piece(0)
    with Wire(server.url) as wire:
        kept = int(wire.ask("GET", upload.location)["range"].partition("-")[2]) + 1
        assert PIECE <= kept <= 2 * PIECE
