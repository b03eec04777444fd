"""How the server leaves those who are still coming: none is lost who has come, and all are told to go elsewhere."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from cargohold.http.closing import SocketFile
from cargohold.http.listen import listen_tcp, listen_unix
from cargohold.http.worker import ECHO_SECONDS
from tests.http.securing import secured
from tests.http.serving import ECHO, PROJECT, serving, until
from tests.http.test_server_stop import ONE_AND_TWO, accepts, is_gone

if TYPE_CHECKING:
    from pathlib import Path

    from tests.http.serving import Serving

WATCHED = "tests.http.server_cases.watched_echo"
CROWD = 50
HESITATION = 0.05
SETTLED = 0.5
"""Seconds after which a server that does not drain would have gone."""


def answers(server: Serving) -> bool:
    with server.connect() as wire:
        return wire.ask("GET", "/bytes?n=1").status == 200


@ONE_AND_TWO
@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_who_waits_at_the_door_is_let_in(tmp_path: Path, workers: int, kind: str) -> None:
    """Connections that are made and not yet taken when the stop comes are served, also those that hesitate."""
    path = str(tmp_path / "socket") if kind == "unix" else None
    with serving(tmp_path, workers=workers, socket=path) as server:
        serving_processes = server.processes()[-workers:]
        for pid in serving_processes:
            os.kill(pid, signal.SIGSTOP)
        early, late = ([server.connect() for _ in range(CROWD)] for _ in range(2))
        for wire in early:
            wire.request("GET", "/bytes?n=1")
        server.process.terminate()
        for pid in serving_processes:
            os.kill(pid, signal.SIGCONT)
        time.sleep(HESITATION)
        for wire in late:
            wire.request("GET", "/bytes?n=1")
        assert [wire.response().status for wire in early + late] == [200] * CROWD * 2
        assert server.process.wait(30) == 0
        assert server.stderr() == f"ready {server.address}\n"


@ONE_AND_TWO
def test_a_stop_begins_with_a_warning(tmp_path: Path, workers: int) -> None:
    """While the server drains, requests are taken, every client is asked to come back anew, the application knows."""
    with serving(tmp_path, workers=workers, drain=2.0) as server:
        staying = server.connect()
        assert "connection" not in staying.ask("GET", "/bytes?n=1")
        server.process.terminate()
        until(lambda: server.outcomes().count("left") == workers)
        time.sleep(SETTLED)
        for wire in (staying, server.connect(), server.connect()):
            answer = wire.ask("GET", "/bytes?n=1")
            assert (answer.status, answer["connection"]) == (200, "close")
            assert wire.closed()
        assert server.process.poll() is None
        assert server.outcomes().count("stopped") == 0
        assert server.process.wait(30) == 0
        assert not accepts(server.address)
        assert server.outcomes().count("stopped") == workers
        assert server.stderr() == f"ready {server.address}\n"


@ONE_AND_TWO
def test_a_signal_that_is_handed_on_is_one(tmp_path: Path, workers: int) -> None:
    """What comes twice in a moment, from a terminal and from a launcher that hands it on, is one stop."""
    with serving(tmp_path, workers=workers) as server:
        slow = server.connect()
        slow.request("GET", "/sleep?seconds=1")
        server.until_outcome("sleeping")
        server.process.terminate()
        time.sleep(ECHO_SECONDS / 10)
        server.process.terminate()
        assert slow.response().status == 204
        assert server.process.wait(30) == 0


@ONE_AND_TWO
def test_a_sighup_without_a_certificate(tmp_path: Path, workers: int) -> None:
    """There is nothing to renew: the server goes on, and so does its stop."""
    with serving(tmp_path, workers=workers, drain=1.0) as server:
        server.process.send_signal(signal.SIGHUP)
        time.sleep(SETTLED)
        assert answers(server)
        server.process.terminate()
        until(lambda: server.outcomes().count("left") == workers)
        server.process.send_signal(signal.SIGHUP)
        assert answers(server)
        assert server.process.wait(30) == 0


@ONE_AND_TWO
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_second_signal_ends_the_warning(tmp_path: Path, workers: int, number: signal.Signals) -> None:
    """Whoever does not want to wait for the drain sends another signal; the exit code is not 0."""
    with serving(tmp_path, workers=workers, drain=600) as server:
        processes = server.processes()
        server.process.send_signal(number)
        until(lambda: server.outcomes().count("left") == workers)
        time.sleep(2 * ECHO_SECONDS)
        server.process.send_signal(number)
        assert server.process.wait(30) == 1
        until(lambda: all(is_gone(pid) for pid in processes))


def test_a_signal_to_the_whole_group_is_one_warning(tmp_path: Path) -> None:
    """A service manager's SIGTERM reaches workers too: they do not end before the drain does."""
    with serving(tmp_path, workers=2, drain=2.0) as server:
        os.killpg(server.process.pid, signal.SIGTERM)
        until(lambda: server.outcomes().count("left") == 2)
        time.sleep(SETTLED)
        assert all(answers(server) for _ in range(20))
        assert len(server.processes()) == 3
        assert server.process.wait(30) == 0
        assert server.stderr() == f"ready {server.address}\n"


def test_a_worker_that_dies_meanwhile(tmp_path: Path) -> None:
    """While the server drains a worker that dies is not replaced; connections come to the others."""
    with serving(tmp_path, workers=2, drain=3.0) as server:
        first = server.processes()[1]
        server.process.terminate()
        until(lambda: server.outcomes().count("left") == 2)
        os.kill(first, signal.SIGKILL)
        until(lambda: len(server.processes()) == 2)
        assert all(answers(server) for _ in range(20))
        assert server.process.wait(30) == 0


def test_no_certificate_is_renewed_meanwhile(tmp_path: Path) -> None:
    """A SIGHUP while the server drains changes nothing."""
    with secured(tmp_path, drain=2.0) as secure:
        secure.server.process.terminate()
        until(lambda: "left" in secure.server.outcomes())
        before, processes = secure.fingerprint(), secure.server.processes()
        secure.renew()
        secure.server.process.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        assert (secure.fingerprint(), secure.server.processes()) == (before, processes)
        assert secure.server.process.wait(30) == 0
        assert secure.server.stderr() == f"ready {secure.server.address}\n"


@ONE_AND_TWO
def test_a_signal_before_the_start_has_ended(tmp_path: Path, workers: int) -> None:
    """SIGTERM at whatever moment of the start ends it, without a word and with nobody left behind."""
    moments = random.Random(workers)
    for _ in range(8):
        with subprocess.Popen(
            [sys.executable, "-m", ECHO, str(tmp_path), f'{{"workers": {workers}}}'],
            stderr=subprocess.PIPE,
            cwd=PROJECT,
            text=True,
            start_new_session=True,
        ) as process:
            time.sleep(moments.uniform(0, 0.5))
            process.terminate()
            _, said = process.communicate(timeout=30)
        assert process.returncode in {0, -signal.SIGTERM}
        assert "Traceback" not in said
        until(lambda group=process.pid: not group_lives(group))  # type: ignore[misc]


def group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_worker_that_hangs_is_replaced(tmp_path: Path) -> None:
    """A worker whose event loop stands still is killed, with a word in the log, and another takes its place."""
    with serving(tmp_path, WATCHED, workers=2) as server:
        server.connect().request("GET", "/block")
        server.until_outcome("blocking")
        until(lambda: "it is killed" in server.stderr())
        until(lambda: server.outcomes().count("started") == 3)
        assert all(answers(server) for _ in range(20))
        assert server.stop() == 0
        assert server.stderr().count("it is killed") == 1


def test_a_socket_file_goes_with_the_stop(tmp_path: Path) -> None:
    """A new server can listen on the path while the old one's requests end, and keeps its file when they have."""
    path = str(tmp_path / "socket")
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    with serving(tmp_path / "old", socket=path) as old:
        slow = old.connect()
        slow.request("GET", "/sleep?seconds=3")
        old.until_outcome("sleeping")
        old.process.terminate()
        until(lambda: not os.path.exists(path))
        with serving(tmp_path / "new", socket=path) as new:
            assert slow.response().status == 204
            assert old.process.wait(30) == 0
            assert answers(new)
            assert new.stop() == 0
    assert not os.path.exists(path)


def test_another_file_at_the_path_is_left_alone(tmp_path: Path) -> None:
    """What has taken the place of a socket is not removed with it."""
    path = tmp_path / "socket"
    (listener,) = listen_unix(str(path), 1)
    with listener:
        file = SocketFile.at(str(path))
        os.rename(path, tmp_path / "moved")
        path.write_text("of somebody else")
        file.remove()
        assert path.read_text() == "of somebody else"
        path.unlink()
        file.remove()


def test_a_secured_connection_that_was_just_made_is_heard(tmp_path: Path) -> None:
    """The bytes of a handshake are no request: a client that pauses after it gets its answer all the same."""
    with secured(tmp_path) as secure, secure.connect() as wire:
        time.sleep(0.5)
        secure.server.process.terminate()
        time.sleep(0.5)
        assert wire.ask("GET", "/sleep?seconds=0").status == 204
        assert secure.server.process.wait(30) == 0


def test_no_handshake_begins(tmp_path: Path) -> None:
    """Who comes during the stop is not reset: he tries again by himself, and finds who listens by then."""
    with serving(tmp_path, share_port=True) as server:
        port = int(server.address.rpartition(":")[2])
        os.kill(server.process.pid, signal.SIGSTOP)
        held = server.connect()
        held.request("GET", "/sleep?seconds=1")
        server.process.terminate()
        os.kill(server.process.pid, signal.SIGCONT)
        server.until_outcome("sleeping")
        (follower,) = listen_tcp("127.0.0.1", port, 1, share=True)
        with follower, contextlib.ExitStack() as opened:
            clients = [opened.enter_context(socket.socket()) for _ in range(CROWD)]
            for client in clients:
                client.setblocking(False)
                assert client.connect_ex(("127.0.0.1", port)) == errno.EINPROGRESS
            follower.settimeout(20)
            for _ in clients:
                opened.enter_context(follower.accept()[0])
        assert held.response().status == 204
        assert server.process.wait(30) == 0


class Manager:
    """A service manager's end of the socket on which it is told things."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.settimeout(20)
        self.socket.bind(path)

    def told(self) -> str:
        return self.socket.recv(4096).decode()


@ONE_AND_TWO
@pytest.mark.parametrize("namespace", ["of files", "abstract"])
def test_a_service_manager_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int, namespace: str
) -> None:
    """When it is ready, that it lives, when it stops, and how long that may take."""
    path = str(tmp_path / "notify")
    manager = Manager("\0" + path if namespace == "abstract" else path)
    monkeypatch.setenv("NOTIFY_SOCKET", "@" + path if namespace == "abstract" else path)
    monkeypatch.setenv("WATCHDOG_USEC", "200000")
    with manager.socket, serving(tmp_path, workers=workers, drain=1.0, stop_timeout=2.5) as server:
        said = [manager.told() for _ in range(4)]
        assert sorted(set(said)) == ["READY=1", "WATCHDOG=1"]
        server.process.terminate()
        said = [manager.told() for _ in range(4)]
        assert "STOPPING=1\nEXTEND_TIMEOUT_USEC=8500000" in said
        assert set(said) == {"STOPPING=1\nEXTEND_TIMEOUT_USEC=8500000", "WATCHDOG=1"}
        assert server.process.wait(30) == 0
        assert server.stderr() == f"ready {server.address}\n"


def test_a_service_manager_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it cannot be told the log says so, and the server serves."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nowhere"))
    with serving(tmp_path) as server:
        assert answers(server)
        assert server.stop() == 0
        assert "cannot be told READY=1: No such file or directory" in server.stderr()


def test_another_process_is_watched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A watchdog that is meant for another process is not fed by this one."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        name = f"cargohold-test-{os.getpid()}"
        manager.bind("\0" + name)
        manager.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name)
        monkeypatch.setenv("WATCHDOG_USEC", "1000")
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
        with serving(tmp_path) as server:
            assert manager.recv(4096) == b"READY=1"
            assert server.stop() == 0
            assert manager.recv(4096).startswith(b"STOPPING=1")
