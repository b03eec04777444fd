"""What load balancers are told of a real server, on disks that are well, full, read-only, and that hang."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx2
import pytest

from cargohold.registry.readiness import FRESH_SECONDS
from tests.e2e.pushing import EMPTY, make_manifest, one_to_each, push_blob, put_manifest
from tests.http.serving import until
from tests.http.wire import Wire
from tests.storage.places import fill, read_only_view, small_disk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.conftest import Start
    from tests.e2e.server import Server


IMAGE = "/v2/app/manifests/v1"


def push(server: Server) -> None:
    with Wire(server.url) as wire:
        push_blob(wire, "app", EMPTY)
        assert put_manifest(wire, "app", "v1", make_manifest("first")).status == 201


def ready(server: Server) -> tuple[int, str]:
    """Status and reason."""
    answer = httpx2.get(f"{server.url}/health/ready", timeout=30)
    assert answer.headers["content-type"] == "application/json"
    return answer.status_code, answer.json().get("reason", "")


def is_alive(server: Server) -> bool:
    answer = httpx2.get(f"{server.url}/health", timeout=5)
    return (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_a_full_disk(tmp_path: Path, start: Start) -> None:
    """503 while there is no room, then 200 again; the log has the path, which the answer has not."""
    with small_disk(tmp_path / "disk", 4096) as disk:
        server = start({"workers": 1}, storage=disk / "data")
        assert ready(server) == (200, "")
        filler = fill(disk)
        until(lambda: ready(server) == (503, "the storage is full"))
        assert is_alive(server)
        filler.unlink()
        until(lambda: ready(server) == (200, ""))
        assert server.stop() == 0
        assert server.log.count("not ready: the storage is full") == 1
        assert str(disk / "data") in server.log
        assert server.log.count("ready again") == 1


def test_a_disk_that_is_only_read(tmp_path: Path, start: Start) -> None:
    """Who is set to read alone is ready where nothing can be written."""
    server = start(storage=tmp_path / "data")
    server.stop()
    with read_only_view(tmp_path / "data", tmp_path / "view") as view:
        server = start({"read_only": True}, storage=view)
        assert ready(server) == (200, "")
        assert server.stop() == 0


def test_every_worker_says_that_it_stops(start: Start) -> None:
    """From SIGTERM on, for as long as the server drains, each worker is alive and not ready, and pulls go on."""
    server = start({"workers": 2, "server.drain": 3})
    push(server)
    with one_to_each(server) as wires:
        server.process.terminate()
        until(lambda: ready(server)[0] == 503)
        for wire in wires:
            answer = wire.ask("GET", "/health/ready")
            assert (answer.status, answer["connection"]) == (503, "close")
            assert b'"the server is stopping"' in answer.body
            assert int(answer["retry-after"]) > 0
        assert is_alive(server)
        assert httpx2.get(f"{server.url}{IMAGE}").status_code == 200
    assert server.process.wait(30) == 0


@contextmanager
def disk_that_can_hang(place: Path) -> Iterator[Path]:
    """A file system in a file."""
    image = place / "image"
    with image.open("wb") as file:
        file.truncate(32 << 20)
    mount = place / "mount"
    mount.mkdir()
    subprocess.run(["mkfs.ext4", "-q", image], check=True, timeout=30)
    subprocess.run(["mount", "-o", "loop", image, mount], check=True, timeout=30)
    try:
        yield mount
    finally:
        subprocess.run(["umount", mount], check=True, timeout=30)


@contextmanager
def frozen(mount: Path) -> Iterator[None]:
    """Whoever writes there waits."""
    subprocess.run(["fsfreeze", "--freeze", mount], check=True, timeout=30)
    try:
        yield
    finally:
        subprocess.run(["fsfreeze", "--unfreeze", mount], check=True, timeout=30)


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("mkfs.ext4") is None or not os.path.exists("/dev/loop-control"),
    reason="only root can mount a file system, from a loop device",
)
def test_a_disk_that_hangs(tmp_path: Path, start: Start) -> None:
    """503 after some seconds, and then at once; one thread waits for the disk, however many ask; pulls go on."""
    with disk_that_can_hang(tmp_path) as mount:
        server = start({"workers": 1}, storage=mount / "data")
        push(server)
        assert ready(server) == (200, "")
        time.sleep(FRESH_SECONDS)
        with frozen(mount):
            asking = [threading.Thread(target=ready, args=(server,)) for _ in range(10)]
            for thread in asking:
                thread.start()
            assert ready(server) == (503, "the storage does not answer")
            for thread in asking:
                thread.join(30)
            for _ in range(20):
                assert ready(server) == (503, "the storage does not answer")
            assert is_alive(server)
            assert httpx2.get(f"{server.url}{IMAGE}").status_code == 200
            assert len(waiting_threads(server)) == 1
        until(lambda: ready(server) == (200, ""))
        assert server.stop() == 0


def waiting_threads(server: Server) -> list[int]:
    """The threads of the server that wait for a disk."""
    (worker,) = server.workers()
    folder = f"/proc/{worker}/task"
    return [int(thread) for thread in os.listdir(folder) if state(f"{folder}/{thread}/stat") == "D"]


def state(path: str) -> str:
    with open(path) as stat:
        return stat.read().rpartition(")")[2].split()[0]
