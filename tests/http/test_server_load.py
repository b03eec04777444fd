"""Many connections at once: idle ones, stalled ones, and those that deserve an answer."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cargohold.http.worker import MAX_CONNECTIONS, trim_heap
from tests.http.serving import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.http.serving import Serving

MEBIBYTE = 1 << 20


def proportional_memory(server: Serving) -> int:
    """The memory of all processes of the server together, in bytes, shared pages counted once (PSS)."""
    total = 0
    for pid in server.processes():
        with open(f"/proc/{pid}/smaps_rollup") as rollup:
            total += sum(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))
    return total * 1024


@pytest.mark.parametrize("workers", [1, 2])
def test_idle_and_stalled_connections_block_nobody(tmp_path: Path, workers: int) -> None:
    """With 256 idle and 16 stalled connections others are answered, and memory grows by less than 40 MiB."""
    with (tmp_path / "large").open("wb") as file:
        file.truncate(256 * MEBIBYTE)
    with serving(tmp_path, workers=workers) as server:
        before = proportional_memory(server)
        idle = [server.connect() for _ in range(256)]
        for wire in idle[::2]:
            assert wire.ask("GET", "/v2/").status == 200
        downloads = [server.connect(receive_buffer=4096) for _ in range(8)]
        for wire in downloads:
            wire.request("GET", "/file?name=large")
        uploads = [server.connect() for _ in range(8)]
        for wire in uploads:
            wire.request("PUT", "/hash", f"Content-Length: {256 * MEBIBYTE}")
            wire.send(b"x" * 100_000)
        for _ in range(200):
            with server.connect() as wire:
                assert wire.ask("GET", "/bytes?n=1000").status == 200
        assert proportional_memory(server) - before < 40 * MEBIBYTE
        for wire in (*idle, *downloads, *uploads):
            wire.socket.close()


def test_uploads_that_abort_leave_little_memory(tmp_path: Path) -> None:
    """200 clients that reset their connections in mid-upload, three times over, leave less than 200 MiB behind."""
    with serving(tmp_path, workers=1) as server:
        before = proportional_memory(server)
        for _ in range(3):
            clients = [server.connect() for _ in range(200)]
            for wire in clients:
                wire.request("PUT", "/hash", f"Content-Length: {1024 * MEBIBYTE}")
            for wire in clients:
                wire.send(b"x" * 2 * MEBIBYTE)
            for wire in clients:
                wire.reset()
        with server.connect() as wire:
            assert wire.ask("GET", "/v2/").status == 200
        assert proportional_memory(server) - before < 200 * MEBIBYTE


def _resident_heap() -> int:
    """The bytes of this process's memory that are in no file."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon:")) * 1024


def test_trimmed_heap() -> None:
    """What was freed goes back to the system, though something above it is still in use."""
    blocks = [bytearray(b"x" * 10_000) for _ in range(10_000)]
    above = blocks.pop()
    blocks.clear()
    held = _resident_heap()
    trim_heap()
    assert held - _resident_heap() > 50 * MEBIBYTE
    assert above == b"x" * 10_000


def test_connections_leave_descriptors_for_files(tmp_path: Path) -> None:
    """With few descriptors fewer connections are taken, so that files can be opened; the others get their turn."""
    (tmp_path / "content").write_bytes(b"x" * MEBIBYTE)
    with serving(tmp_path, descriptors=200) as server:
        first = server.connect()
        assert first.ask("GET", "/v2/").status == 200
        others = [server.connect() for _ in range(300)]
        for wire in others:
            wire.request("GET", "/v2/", "Connection: close")
        idle = [server.connect() for _ in range(300)]
        for _ in range(20):
            assert first.ask("GET", "/file?name=content").body == b"x" * MEBIBYTE
        for wire in idle:
            wire.socket.close()
        assert [wire.response().status for wire in others] == [200] * 300


@pytest.fixture
def descriptors() -> Iterator[None]:
    """As many of them in this process as it may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("descriptors")
@pytest.mark.parametrize("workers", [1, 2])
def test_silent_connections_block_nobody(tmp_path: Path, workers: int) -> None:
    """While those that send nothing, or half of something, are fewer than a worker takes, others are answered."""
    halves = [
        b"",
        b"GET /v2/ HTTP/1.1\r\nHost: regi",
        b"PUT /hash HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx",
    ]
    with serving(tmp_path, workers=workers) as server:
        for number in range(MAX_CONNECTIONS - 1):
            server.connect().send(halves[number % len(halves)])
        for _ in range(20):
            with server.connect() as wire:
                assert wire.ask("GET", "/v2/").status == 200


def test_silent_connections_give_way(tmp_path: Path) -> None:
    """Where they are more than a worker takes, those that wait are answered once the silent ones have been let go."""
    with serving(tmp_path, descriptors=200) as server:
        silent = [server.connect() for _ in range(100)]
        for wire in silent[::2]:
            wire.send(b"GET /v2/ HTTP/1.1\r\nHost: regi")
        late = server.connect()
        late.socket.settimeout(60)
        assert late.ask("GET", "/v2/").status == 200


def test_silent_clients_are_let_go(tmp_path: Path) -> None:
    """Over HTTP/1 a client that sends nothing, half a head, or no second request, loses its connection."""
    with serving(tmp_path) as server:
        silent, slow, idle = (server.connect() for _ in range(3))
        slow.send(b"GET /v2/ HTTP/1.1\r\nHost: regi")
        assert idle.ask("GET", "/v2/").status == 200
        for wire in (silent, slow, idle):
            wire.socket.settimeout(60)
            assert wire.closed()
