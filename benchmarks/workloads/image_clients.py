"""The programs that pull and push whole images, each run in a folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import time
from abc import ABC, abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING

from benchmarks.programs import run
from benchmarks.workloads.layout import NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from benchmarks.workloads.layout import Layout

_RUN_SECONDS = 240.0
_START_SECONDS, _STOP_SECONDS = 20.0, 20.0


class ImageClient(ABC):
    """A client that can push the image of a layout, and pull it, many times at once.

    `user` numbers who does it: no two share anything that one of them has pulled, or knows of the registry.
    """

    name: str

    @abstractmethod
    def push(self, target: str, user: int) -> None:
        """Push the image to `target`, host and port included. Raises RuntimeError with what the program said."""

    @abstractmethod
    def pull(self, source: str, user: int) -> None:
        """Pull the image, which this user has not pulled before."""


class Skopeo(ImageClient):
    """Copies between a folder and a registry; what it pulls it checks but does not unpack."""

    name = "skopeo"

    def __init__(self, program: str, layout: Layout, folder: str) -> None:
        self._program, self._layout, self._folder = program, layout, folder

    def push(self, target: str, user: int) -> None:
        """`skopeo copy` from the layout."""
        self._copy(user, f"oci:{self._layout.path}:{NAME}", f"docker://{target}")

    def pull(self, source: str, user: int) -> None:
        """`skopeo copy` into a folder, which is removed."""
        folder = f"{self._folder}/pulled-{user}"
        self._copy(user, f"docker://{source}", f"dir:{folder}")
        shutil.rmtree(folder)

    def _copy(self, user: int, *places: str) -> None:
        # It writes down which registry has which blob: by these two in a folder of the user's, even for root.
        known = {"_CONTAINERS_ROOTLESS_UID": "1", "XDG_DATA_HOME": f"{self._folder}/known-{user}"}
        plain = ("--src-tls-verify=false", "--dest-tls-verify=false")
        command = [self._program, "--insecure-policy", "copy", "--quiet", *plain, *places]
        run(command, known, _RUN_SECONDS)


class Containerd(ImageClient):
    """`ctr` and its daemon; what it pulls goes into the daemon's store, and is not unpacked."""

    name = "containerd"

    def __init__(self, ctr: str, address: str) -> None:
        self._ctr, self._address = ctr, address

    def push(self, target: str, user: int) -> None:  # noqa: ARG002 - what `load` has stored is the same for all
        """`ctr images push` of what `load` has stored."""
        self._run("pushers", "images", "push", "--plain-http", target, "loaded:latest")

    def pull(self, source: str, user: int) -> None:
        """`ctr content fetch` into a namespace of the user's, which makes it load all of it again."""
        self._run(f"user-{user}", "content", "fetch", "--plain-http", source)

    def load(self, layout: Layout, folder: str) -> None:
        """Store the image that is to be pushed."""
        archive = f"{folder}/layout.tar"
        with tarfile.open(archive, "w") as file:
            file.add(layout.path, "")
        self._run("pushers", "images", "import", "--no-unpack", "--index-name", "loaded:latest", archive)
        os.unlink(archive)

    def _run(self, namespace: str, *words: str) -> None:
        run([self._ctr, "--address", self._address, "--namespace", namespace, *words], {}, _RUN_SECONDS)

    def answers(self) -> bool:
        """Whether the daemon has started."""
        try:
            self._run("pushers", "version")
        except RuntimeError:
            return False
        return True


@contextmanager
def skopeo(layout: Layout, folder: str) -> Iterator[ImageClient | None]:
    """skopeo, where it is installed."""
    program = shutil.which("skopeo")
    yield Skopeo(program, layout, folder) if program else None


@contextmanager
def containerd(layout: Layout, folder: str) -> Iterator[ImageClient | None]:
    """containerd, where it is installed and we are root; its daemon runs as long as the block."""
    daemon, ctr = shutil.which("containerd"), shutil.which("ctr")
    if daemon is None or ctr is None or os.geteuid() != 0:
        yield None
        return
    with open(f"{folder}/config.toml", "w", encoding="utf-8") as file:
        file.write(
            'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
            f'[plugins."io.containerd.internal.v1.opt"]\npath = "{folder}/opt"\n'
            '[plugins."io.containerd.metadata.v1.bolt"]\ncontent_sharing_policy = "isolated"\n'
        )
    address = f"{folder}/socket"
    places = (f"--config={folder}/config.toml", f"--root={folder}/root", f"--state={folder}/state")
    with open(f"{folder}/log", "wb") as log:
        process = subprocess.Popen([daemon, *places, f"--address={address}"], stdout=log, stderr=log)
    try:
        client = Containerd(ctr, address)
        deadline = time.monotonic() + _START_SECONDS
        while not client.answers():
            if process.poll() is not None or time.monotonic() > deadline:
                with open(f"{folder}/log", encoding="utf-8", errors="replace") as told:
                    raise RuntimeError(f"containerd does not start: {told.read()[-2000:]}")
            time.sleep(0.05)
        client.load(layout, folder)
        yield client
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_STOP_SECONDS)


# Each gives, for a `with`, the client, or None where it is not installed; its folder must be there, and empty.
CLIENTS: dict[str, Callable[[Layout, str], AbstractContextManager[ImageClient | None]]] = {
    "skopeo": skopeo,
    "containerd": containerd,
}
