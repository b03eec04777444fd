"""Where the server listens, what it says, and what it refuses to start on."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cargohold.http.listen import SEND_STALL_MILLISECONDS, listen_tcp, listen_unix
from tests.http.serving import ECHO, PROJECT, full_queue, serving

ONE_AND_TWO = pytest.mark.parametrize("workers", [1, 2])


def refused(root: Path, **arguments: object) -> str:
    """What a server says that cannot start."""
    command = [sys.executable, "-m", ECHO, str(root), json.dumps(arguments)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    return done.stderr


@ONE_AND_TWO
def test_nothing_is_said_but_that_it_is_ready(tmp_path: Path, workers: int) -> None:
    """Start, requests and stop leave one line on stderr: the address, once, when all workers take requests."""
    with serving(tmp_path, workers=workers) as server:
        for _ in range(10):
            with server.connect() as wire:
                assert wire.ask("GET", "/v2/").status == 200
        assert server.outcomes() == ["started"] * workers
        assert server.stop() == 0
        assert server.stderr() == f"ready {server.address}\n"


@ONE_AND_TWO
@pytest.mark.parametrize(("limit", "room"), [(4096, 4096), (1000, 512), (65536, 4096)])
def test_room_for_descriptors(tmp_path: Path, workers: int, limit: int, room: int) -> None:
    """Who serves has a table for the files of all connections, and so never waits, with its threads, for it to grow."""
    with serving(tmp_path, descriptors=limit, workers=workers) as server:
        serve = server.processes()[1:] if workers > 1 else server.processes()
        assert len(serve) == workers
        for pid in serve:
            status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
            (size,) = (int(line.split()[1]) for line in status.splitlines() if line.startswith("FDSize:"))
            assert size >= room
            assert len(os.listdir(f"/proc/{pid}/fd")) < 100


@ONE_AND_TWO
def test_a_port_in_use_is_refused(tmp_path: Path, workers: int) -> None:
    """A second server on a port says so and ends with 1; the first goes on."""
    with serving(tmp_path, workers=workers) as server:
        port = int(server.address.rpartition(":")[2])
        for count in (1, 2):
            said = refused(tmp_path, port=port, workers=count)
            assert said.startswith(f"cargohold: cannot listen on 127.0.0.1:{port}: Address already in use")
            assert said.count("\n") == 1
        with server.connect() as wire:
            assert wire.ask("GET", "/v2/").status == 200


def test_a_planned_second_instance_shares_the_port(tmp_path: Path) -> None:
    """Two servers that are both told to share a port do; a third that is not is refused."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    with serving(tmp_path / "first", workers=2, share_port=True) as first:
        port = int(first.address.rpartition(":")[2])
        with serving(tmp_path / "second", workers=2, share_port=True, port=port) as second:
            assert "in use" in refused(tmp_path, port=port)
            assert first.stop() == 0
            for _ in range(10):
                with second.connect() as wire:
                    assert wire.ask("GET", "/v2/").status == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_hosts(tmp_path: Path, host: str) -> None:
    """An IPv4 or IPv6 address, or a name, is listened on; the address that is said can be asked."""
    if host == "::1" and not os.path.exists("/proc/net/if_inet6"):
        pytest.skip("this kernel has no IPv6")
    with serving(tmp_path, host=host, workers=2) as server, server.connect() as wire:
        assert json.loads(wire.ask("GET", "/v2/").body)["client"] in {"127.0.0.1", "::1"}


@ONE_AND_TWO
def test_a_unix_socket(tmp_path: Path, workers: int) -> None:
    """A Unix socket carries requests and files, names no client, and is removed at the end."""
    path = tmp_path / "socket"
    (tmp_path / "content").write_bytes(b"0123456789")
    with serving(tmp_path, socket=str(path), workers=workers) as server:
        assert server.address == f"unix:{path}"
        with server.connect() as wire:
            assert json.loads(wire.ask("GET", "/v2/").body)["client"] == ""
            assert wire.ask("GET", "/file?name=content&start=2").body == b"23456789"
        assert "in use" in refused(tmp_path, socket=str(path))
        assert server.stop() == 0
    assert not path.exists()


def test_a_socket_that_was_left_over_is_replaced(tmp_path: Path) -> None:
    """The socket file of a server that was killed is in nobody's way; any other file is kept, and refused."""
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with serving(tmp_path, socket=str(path)) as server, server.connect() as wire:
        assert wire.ask("GET", "/v2/").status == 200
    path.unlink(missing_ok=True)
    path.write_text("precious")
    assert "in use" in refused(tmp_path, socket=str(path))
    assert path.read_text() == "precious"


def test_a_socket_whose_server_stands_still_is_refused(tmp_path: Path) -> None:
    """A server that takes no more connections has its socket all the same; it is not waited for."""
    path = str(tmp_path / "socket")
    (listener,) = listen_unix(path, 1)
    listener.listen(0)
    with listener, full_queue(path):
        assert "in use" in refused(tmp_path, socket=path)


def test_an_address_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    """What cannot be listened on is said in a line, whatever the reason."""
    assert "cannot listen on 192.0.2.1:" in refused(tmp_path, host="192.0.2.1")
    assert "cannot listen on" in refused(tmp_path, socket=str(tmp_path / "missing" / "socket"))


@ONE_AND_TWO
def test_an_application_that_does_not_start_ends_the_server(tmp_path: Path, workers: int) -> None:
    """A worker that dies before the service was ever ready is not tried again: exit 1, with its traceback."""
    (tmp_path / "outcomes").mkdir()
    said = refused(tmp_path, workers=workers)
    assert "IsADirectoryError" in said
    assert "\nready " not in said


def test_connections_are_set_to_notice_clients_that_are_gone() -> None:
    """Connections inherit: no delay of small answers, keepalive, and a limit to how long nothing is taken."""
    (listener,) = listen_tcp("127.0.0.1", 0, 1)
    with listener, socket.create_connection(listener.getsockname()), listener.accept()[0] as accepted:
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        stall = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
        assert stall == SEND_STALL_MILLISECONDS


def test_connections_spread_over_the_workers() -> None:
    """With several listeners on one port each gets a share of the connections."""
    listeners = listen_tcp("127.0.0.1", 0, 2)
    clients = [socket.create_connection(listeners[0].getsockname()) for _ in range(200)]
    shares = []
    for listener in listeners:
        accepted = []
        listener.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                accepted.append(listener.accept()[0])
        shares.append(len(accepted))
        for connection in (*accepted, listener):
            connection.close()
    for client in clients:
        client.close()
    assert sum(shares) == 200
    assert min(shares) > 50
