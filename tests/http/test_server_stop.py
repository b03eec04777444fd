"""How the server ends, and what it ends with: requests in flight, its workers, its supervisor."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.http.serving import serving, until
from tests.http.wire import Wire

if TYPE_CHECKING:
    from pathlib import Path

    from tests.http.serving import Serving

LARGE = 64 << 20
ONE_AND_TWO = pytest.mark.parametrize("workers", [1, 2])


def is_gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has waited for yet has."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] in {"Z", "X"}
    except FileNotFoundError:
        return True


@ONE_AND_TWO
def test_a_stop_lets_requests_end(tmp_path: Path, workers: int) -> None:
    """After SIGTERM no connection is taken; a download, an upload and a slow answer come to their end; exit 0."""
    with (tmp_path / "large").open("wb") as file:
        file.truncate(LARGE)
    with serving(tmp_path, workers=workers) as server:
        download, upload, slow, idle = (server.connect() for _ in range(4))
        download.request("GET", "/file?name=large")
        upload.request("PUT", "/hash", "Content-Length: 20")
        upload.send(b"0123456789")
        slow.request("GET", "/sleep?seconds=1.5")
        assert idle.ask("GET", "/v2/").status == 200
        server.until_outcome("sleeping")
        server.process.terminate()
        assert idle.closed()
        until(lambda: not accepts(server.address))
        upload.send(b"0123456789")
        assert upload.response().status == 201
        assert slow.response().status == 204
        assert download.response().body == bytes(LARGE)
        assert server.process.wait(30) == 0
        assert server.outcomes().count("stopped") == workers
        assert server.stderr() == f"ready {server.address}\n"


@ONE_AND_TWO
def test_a_stop_has_a_time_limit(tmp_path: Path, workers: int) -> None:
    """What still runs at the end of the stop timeout is cut off, with a word in the log; exit 0."""
    with serving(tmp_path, workers=workers, stop_timeout=0.5) as server:
        slow = server.connect()
        slow.request("GET", "/sleep?seconds=60")
        server.until_outcome("sleeping")
        assert server.stop() == 0
        assert slow.closed()
        assert "cut off" in server.stderr()
        assert server.outcomes().count("stopped") == workers


@ONE_AND_TWO
def test_a_thread_that_hangs_does_not_keep_the_process(tmp_path: Path, workers: int) -> None:
    """A thread that comes to no end, on a dead disk perhaps, is left behind when the stop timeout is long over."""
    with serving(tmp_path, workers=workers, stop_timeout=0.5) as server:
        with server.connect() as wire:
            assert wire.ask("GET", "/hang").status == 204
        assert server.stop() == 0


@ONE_AND_TWO
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_second_signal_ends_at_once(tmp_path: Path, workers: int, number: signal.Signals) -> None:
    """A second signal does not wait for requests, and the exit code is not 0."""
    with serving(tmp_path, workers=workers) as server:
        processes = server.processes()
        slow = server.connect()
        slow.request("GET", "/sleep?seconds=60")
        server.until_outcome("sleeping")
        server.process.send_signal(number)
        until(lambda: not accepts(server.address))
        server.process.send_signal(number)
        assert server.process.wait(30) == 1
        until(lambda: all(is_gone(pid) for pid in processes))


@ONE_AND_TWO
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_group_is_one_stop(
    tmp_path: Path, workers: int, number: signal.Signals
) -> None:
    """Ctrl-C in a terminal, and a service manager's SIGTERM, reach workers too: requests still end in peace."""
    with serving(tmp_path, workers=workers) as server:
        slow = server.connect()
        slow.request("GET", "/sleep?seconds=1")
        server.until_outcome("sleeping")
        os.killpg(server.process.pid, number)
        assert slow.response().status == 204
        assert server.process.wait(30) == 0
        assert server.stderr() == f"ready {server.address}\n"


def test_a_worker_that_was_told_to_stop_is_replaced(tmp_path: Path) -> None:
    """A worker that stops because it was told to is replaced without a word; requests of the others go on."""
    with serving(tmp_path, workers=2) as server:
        first, second = server.processes()[1:]
        slow = connect_to(server, second)
        slow.request("GET", "/sleep?seconds=1.5")
        server.until_outcome("sleeping")
        os.kill(first, signal.SIGTERM)
        until(lambda: is_gone(first))
        until(lambda: len(server.processes()) == 3)
        assert slow.response().status == 204
        server.process.terminate()
        assert server.process.wait(30) == 0
        assert server.stderr() == f"ready {server.address}\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_counts_before_the_end_of_a_worker(tmp_path: Path, number: signal.Signals) -> None:
    """Where both are told at once nobody is missed or replaced: it is an ordinary stop, and its log is empty."""
    with serving(tmp_path, workers=2) as server:
        os.kill(server.process.pid, signal.SIGSTOP)
        os.kill(server.processes()[1], signal.SIGKILL)
        until(lambda: is_gone(server.processes()[1]))
        server.process.send_signal(number)
        os.kill(server.process.pid, signal.SIGCONT)
        assert server.process.wait(30) == 0
        assert server.stderr() == f"ready {server.address}\n"


def test_workers_die_with_their_supervisor(tmp_path: Path) -> None:
    """Workers whose supervisor is killed stop, and the port is free for the next server."""
    with serving(tmp_path, workers=2) as server:
        processes = server.processes()
        assert len(processes) == 3
        server.process.kill()
        until(lambda: all(is_gone(pid) for pid in processes))
        port = int(server.address.rpartition(":")[2])
    with serving(tmp_path, workers=2, port=port) as server, server.connect() as wire:
        assert wire.ask("GET", "/v2/").status == 200


def test_workers_that_die_are_replaced(tmp_path: Path) -> None:
    """A worker that dies, again and again, is replaced, and meanwhile no connection is refused or lost."""
    with serving(tmp_path, workers=2) as server:
        for _ in range(4):
            first = server.processes()[1]
            os.kill(first, signal.SIGKILL)
            for _ in range(20):
                with server.connect() as wire:
                    assert wire.ask("GET", "/v2/").status == 200
            until(lambda first=first: len(server.processes()) == 3 and first not in server.processes())  # type: ignore[misc]
        assert server.stop() == 0
        assert server.stderr().count("ended with signal 9") == 4


def test_a_request_that_kills_its_worker_costs_one_connection(tmp_path: Path) -> None:
    """The client of a worker that dies sees the connection end, and the next request is answered."""
    with serving(tmp_path, workers=2) as server:
        with server.connect() as wire:
            wire.request("GET", "/die")
            assert wire.closed()
        with server.connect() as wire:
            assert wire.ask("GET", "/v2/").status == 200


def connect_to(server: Serving, worker: int) -> Wire:
    """A connection that this worker has taken."""

    def connect() -> list[Wire]:
        wire = server.connect()
        return [wire] if json.loads(wire.ask("GET", "/seen").body)["pid"] == worker else []

    return until(connect)[0]


def accepts(address: str) -> bool:
    try:
        Wire(address).socket.close()
    except ConnectionRefusedError:
        return False
    return True
