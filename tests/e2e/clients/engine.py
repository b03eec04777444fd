"""An engine's server (containerd, dockerd, buildkitd) started for the tests, in a folder of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.e2e.clients.absence import require, require_root, unavailable
from tests.e2e.clients.program import Client

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

START_SECONDS, STOP_SECONDS = 60, 30


@contextlib.contextmanager
def docker_engine(folder: Path, *options: str) -> Iterator[Client]:
    """Docker's engine, with more options; it leaves the network of the machine alone and keeps its data in `folder`."""
    require_root()
    (folder / "daemon.json").write_text("{}")
    address = f"unix://{folder}/socket"
    places = (f"--data-root={folder}/data", f"--exec-root={folder}/exec", f"--pidfile={folder}/pid")
    ways = ("--bridge=none", "--iptables=false", "--ip6tables=false", "--storage-driver=vfs", *options)
    command = (require("dockerd"), f"--config-file={folder}/daemon.json", f"--host={address}", *places, *ways)
    environment = {"HOME": str(folder), "DOCKER_HOST": address, "DOCKER_BUILDKIT": "0"}
    client = Client(require("docker"), environment=environment)
    with running(command, folder, client, "version"):
        yield client


@contextlib.contextmanager
def containerd_engine(folder: Path) -> Iterator[Client]:
    """A containerd with a root, a state and a socket below `folder`; gives its `ctr`."""
    require_root()
    (folder / "config.toml").write_text(
        f'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
        f'[plugins."io.containerd.internal.v1.opt"]\npath = "{folder}/opt"\n'
    )
    places = (f"--config={folder}/config.toml", f"--root={folder}/root", f"--state={folder}/state")
    address = f"{folder}/socket"
    environment = {
        "HOME": str(folder),
        "CONTAINERD_ADDRESS": address,
        "CONTAINERD_NAMESPACE": "tests",
        "CONTAINERD_SNAPSHOTTER": "native",
    }
    client = Client(require("ctr"), environment=environment)
    with running((require("containerd"), *places, f"--address={address}"), folder, client, "version"):
        yield client


@contextlib.contextmanager
def running(command: Sequence[str], folder: Path, probe: Client, *question: str) -> Iterator[None]:
    """Runs a server for the time of the block, which begins once `probe` gets an answer to `question`.

    Everything that the server keeps must be under `folder`: it is unmounted and removed at the end. A server
    that does not start ends the test as a missing client does.
    """
    log = folder / "log"
    with log.open("wb") as output:
        server = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            _await(server, probe, question, log)
            yield
        finally:
            _stop(server)
            clear(folder)


def _await(server: subprocess.Popen[bytes], probe: Client, question: Sequence[str], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        try:
            probe(*question)
        except AssertionError:
            time.sleep(0.1)
        else:
            return
    unavailable(f"{server.args!r} does not start here: {log.read_text()[-2000:]}")


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.send_signal(signal.SIGTERM)
    try:
        server.wait(STOP_SECONDS)
    finally:
        # What it started and left behind is in its session; nothing else is.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait(STOP_SECONDS)


def clear(folder: Path) -> None:
    """Unmounts whatever is mounted below `folder`, the deepest first, and removes the folder."""
    mounts = [line.split(" ")[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for point in sorted(mounts, reverse=True):
        if Path(point).is_relative_to(folder):
            subprocess.run(["umount", "--lazy", point], check=True, timeout=30)
    shutil.rmtree(folder)
