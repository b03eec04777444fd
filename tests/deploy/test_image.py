"""The container image: built, pushed to the registry under test, pulled from it again, and run as a registry.

Debian's image, which it is built on, cannot be pulled everywhere; a minimal Debian made here stands in for it.
"""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import uuid
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from cargohold import __version__
from tests.docs.blocks import ROOT, blocks_of
from tests.docs.session import Session
from tests.e2e.clients.absence import require, require_root
from tests.e2e.clients.engine import clear
from tests.e2e.clients.images import make_image
from tests.e2e.clients.program import Client
from tests.http.serving import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.e2e.server import Server

pytestmark = [pytest.mark.clients, pytest.mark.slow, pytest.mark.timeout(600)]

BUILD_SECONDS = 280
MEGABYTE = 1_000_000
USER = 65532
LOGIN = ("ann", "correct horse battery")
VOLUME = "/var/lib/cargohold"
# Low limits, and the network of the machine: what a container may have within another one.
MODEST = ("--network=host", "--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024")
HARDENED = ("--read-only", "--read-only-tmpfs=false", "--cap-drop=all", "--security-opt=no-new-privileges")


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A podman with a storage of its own, which buildah shares."""
    require_root()
    folder = tmp_path_factory.mktemp("podman")  # its name must be short
    storage = folder / "storage.conf"
    storage.write_text(f'[storage]\ndriver = "vfs"\ngraphroot = "{folder}/root"\nrunroot = "{folder}/run"\n')
    ways = (
        f"--tmpdir={folder}/tmp",
        "--cgroup-manager=cgroupfs",
        "--events-backend=none",
        "--log-level=fatal",
    )
    environment = {"HOME": str(folder), "CONTAINERS_STORAGE_CONF": str(storage)}
    yield Client(require("podman"), (*ways, f"--runtime={require('runc')}"), environment)
    clear(folder)


@pytest.fixture(scope="module")
def image(podman: Client, registry: Server) -> str:
    """What `make image` builds, which has been to the registry and is nowhere else by now."""
    require("debootstrap")
    buildah = Client(require("buildah"), environment=podman.environment)
    environment = {**os.environ, **podman.environment, "BUILDAH_ISOLATION": "chroot"}
    base, name = "localhost/debian:13", f"{registry.host}/cargohold:built"
    for command in (["ci/image-base", base], ["make", "image", f"IMAGE={name}", f"BASE={base}"]):
        ended = subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=BUILD_SECONDS,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
    buildah("push", "--tls-verify=false", name)
    buildah("rmi", "--all", "--force")
    return name


@dataclass(frozen=True)
class Container:
    """A container that serves on a port of this machine."""

    podman: Client
    name: str
    url: str
    written: Path

    @property
    def log(self) -> str:
        """What it has written so far."""
        return self.written.read_text()

    def state(self) -> Any:
        """What podman knows of it."""
        return json.loads(self.podman("inspect", "--format={{json .State}}", self.name))

    def serves(self) -> bool:
        """Whether it answers."""
        with suppress(httpx2.TransportError):
            return httpx2.get(f"{self.url}/v2/").status_code == 200
        return False


@contextmanager
def running(podman: Client, image: str, volume: str, *options: str) -> Iterator[Container]:
    """A container that serves, and that has not much time to end when the block does."""
    name, port = f"registry-{uuid.uuid4().hex[:8]}", unused_port()
    where = ("--env=REGISTRY_HOST=127.0.0.1", f"--env=REGISTRY_PORT={port}", f"--volume={volume}:{VOLUME}")
    log = Path(podman.environment["HOME"], f"{name}.log")
    kept = ("--log-driver=k8s-file", f"--log-opt=path={log}")
    podman("run", "--detach", f"--name={name}", "--tls-verify=false", *kept, *MODEST, *where, *options, image)
    container = Container(podman, name, f"http://127.0.0.1:{port}", log)
    try:
        until(container.serves)
        yield container
    finally:
        podman("rm", "--force", "--time=5", name)


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def volume(podman: Client) -> str:
    return podman("volume", "create")


def test_it_is_small(podman: Client, image: str, record_property: Callable[[str, object], None]) -> None:
    """Unpacked it is less than 200 MB."""
    podman("pull", "--tls-verify=false", image)
    size = int(podman("image", "inspect", "--format={{.Size}}", image))
    record_property("bytes", size)
    assert size < 200 * MEGABYTE


def test_what_it_says_of_itself(podman: Client, image: str) -> None:
    """Engines learn from it who runs it, where it listens and writes, how it stops, and how to ask for its health."""
    podman("pull", "--tls-verify=false", image)
    (shown,) = json.loads(podman("image", "inspect", image))
    config = shown["Config"]
    assert (config["User"], config["StopSignal"]) == (f"{USER}:{USER}", "SIGTERM")
    assert (list(config["ExposedPorts"]), list(config["Volumes"])) == (["5000/tcp"], [VOLUME])
    assert (config["Entrypoint"], config["Cmd"]) == (["cargohold"], ["serve"])
    assert shown["Healthcheck"]["Test"] == ["CMD", "cargohold", "health"]
    assert config["Labels"]["org.opencontainers.image.version"] == __version__


def test_open_to_everyone_only_where_told(podman: Client, image: str) -> None:
    """With no settings at all it does not start, for it would listen to all without a login; it names the way out."""
    said = podman.refused("run", "--rm", "--tls-verify=false", *MODEST, image)
    assert "0.0.0.0 can be reached from other machines, and no login is configured" in said
    assert "auth.open_to_everyone" in said


def test_what_its_user_may_do(podman: Client, image: str) -> None:
    """Its user may write in the volume alone, and nothing in it gives him rights or runs commands for him."""
    podman("pull", "--tls-verify=false", image)
    root = Path(podman("image", "mount", image))
    seen = 0
    for path in root.rglob("*"):
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            continue
        seen += 1
        inside = f"/{path.relative_to(root)}"
        assert inside == VOLUME or (status.st_uid, status.st_gid) == (0, 0), inside
        assert not status.st_mode & (stat.S_IWOTH | stat.S_ISUID | stat.S_ISGID), inside
    assert seen > 1000
    programs = {
        path.name for folder in ("usr/bin", "opt/cargohold/bin") for path in (root / folder).iterdir()
    }
    assert programs == {"python3", "python3.13", "python", "cargohold"}
    podman("image", "unmount", image)


def test_it_is_a_registry(podman: Client, image: str, volume: str, tmp_path: Path) -> None:
    """Held to its volume it serves real clients and is found healthy; it stops in peace, and keeps what it has."""
    layout = make_image(tmp_path / "layout", [{"file": b"content"}])
    skopeo = Client(require("skopeo"), environment=podman.environment)
    crane = Client(require("crane"), environment=podman.environment)
    with running(podman, image, volume, *HARDENED, "--env=REGISTRY_WORKERS=2") as container:
        place = f"{container.url.removeprefix('http://')}/team/app"
        skopeo("copy", "--dest-tls-verify=false", f"oci:{layout.path}:it", f"docker://{place}:v1")
        assert crane("digest", "--insecure", f"{place}:v1") == layout.digest
        podman("healthcheck", "run", container.name)
        state = container.state()
        assert state["Health"]["Status"] == "healthy"
        assert owners(state["Pid"]) == {(USER, USER)}
        podman("stop", "--time=30", container.name)
        assert container.state()["ExitCode"] == 0, container.log
        podman("start", container.name)
        until(container.serves)
        crane("pull", "--insecure", f"{place}:v1", str(tmp_path / "pulled.tar"))
        assert crane("digest", "--insecure", f"{place}:v1") == layout.digest
        assert container.log.count("serving on") == 2
        assert "Traceback" not in container.log


def owners(pid: int) -> set[tuple[int, int]]:
    """The users and groups of a process and of those that it has started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    ids = {
        (int(user), int(group))
        for user, group in zip(status["Uid"].split(), status["Gid"].split(), strict=True)
    }
    return ids.union(*(owners(int(child)) for child in children))


def test_nothing_is_written_elsewhere(podman: Client, image: str, volume: str) -> None:
    """It writes where it is held to nothing as where it is held to its volume: there alone."""
    with running(podman, image, volume) as container:
        with httpx2.Client(base_url=container.url) as session:
            upload = session.post("/v2/team/app/blobs/uploads/").headers["location"]
            assert session.patch(upload, content=b"a part").status_code == 202
        changed = {line.partition(" ")[2] for line in podman("diff", container.name).splitlines()}
    # What the engine itself lays there for every container.
    assert {
        path for path in changed if not path.startswith(("/etc", "/run", "/dev", "/proc", "/sys", "/var"))
    } == set()
    assert {path for path in changed if path.startswith("/var")} <= {"/var", "/var/lib", VOLUME}


def test_the_page(podman: Client, image: str, tmp_path: Path) -> None:
    """Typed one after the other, the page's commands try the image, make a user, and ask for a login."""
    make, *commands = (
        block for block in blocks_of("install.md", "sh") if block.text.startswith(("make image", "podman"))
    )
    assert make.text == "make image IMAGE=localhost/cargohold\n"
    podman("pull", "--tls-verify=false", image)
    podman("tag", image, "localhost/cargohold")
    folder, port = tmp_path / "bin", unused_port()
    folder.mkdir()
    (folder / "podman").write_text(f'#!/bin/sh\nexec {podman.program} {" ".join(podman.options)} "$@"\n')
    (folder / "podman").chmod(0o755)
    environment = podman.environment | {"PATH": f"{folder}:{os.environ['PATH']}"}
    here = " ".join((*MODEST, "--env REGISTRY_HOST=127.0.0.1", f"--env REGISTRY_PORT={port}"))
    replaced = {
        "--publish 127.0.0.1:5000:5000": here,
        "--publish 5000:5000": here,
        "run --rm": f"run --rm {here}",
    }
    (tmp_path / "password").write_text(f"{LOGIN[1]}\n")

    def answers(code: int, login: tuple[str, str] | None = None) -> bool:
        with suppress(httpx2.TransportError):
            return httpx2.get(f"http://127.0.0.1:{port}/v2/", auth=login).status_code == code
        return False

    attempt, removal, users, serve = commands
    with Session(tmp_path, environment, replaced=replaced) as session:
        try:
            session.type(attempt)
            until(lambda: answers(200))
            session.type(removal)
            session.type(users)
            session.type(serve)
            until(lambda: answers(401))
            assert answers(200, LOGIN)
        finally:
            podman("rm", "--force", "--time=5", "--ignore", "registry")
