"""What the tests of real clients share: a way to call a program, a registry to push to, images to push."""

from __future__ import annotations

import platform
import random
import uuid
from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol

import httpx2
import pytest

from tests.e2e.clients.absence import require, require_root
from tests.e2e.clients.engine import clear, containerd_engine, docker_engine
from tests.e2e.clients.images import Layer, Layout, make_image, make_index
from tests.e2e.clients.program import Client
from tests.e2e.clients.repository import Repository
from tests.e2e.clients.terminal import Terminal, furnish

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path


class Registry(Protocol):
    """The server under test."""

    @property
    def host(self) -> str:
        """`127.0.0.1:PORT`."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The folder that clients take for the user's home: their settings and caches go there."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def client(home: Path) -> Callable[..., Client]:
    """Makes a client of a program, which must be there, and the options that each call begins with."""

    def make(program: str, *options: str | Path, **environment: str) -> Client:
        return Client(require(program), tuple(map(str, options)), {"HOME": str(home)} | environment)

    return make


@pytest.fixture
def repository(registry: Registry) -> Iterator[Repository]:
    """A repository that no other test uses."""
    with httpx2.Client(base_url=f"http://{registry.host}", timeout=60) as session:
        yield Repository(session, f"clients/{uuid.uuid4().hex}")


@pytest.fixture
def architecture() -> str:
    """This machine's, by the name that images give it."""
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


@pytest.fixture
def busybox() -> bytes:
    """A static program that is a whole user land: it makes an image from scratch run."""
    with open(require("busybox"), "rb") as program:
        return program.read()


def noise(seed: int, size: int) -> bytes:
    """Bytes that no compression makes smaller, the same for the same seed."""
    return random.Random(seed).randbytes(size)


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """An image of ten layers, so that clients push and pull in parallel, the last of 8 MiB."""
    layers: list[Layer] = [{f"file-{number}": noise(number, 50_000)} for number in range(9)]
    return make_image(tmp_path_factory.mktemp("image"), [*layers, {"big": noise(10, 8 << 20)}])


@pytest.fixture(scope="session")
def index(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """An index of two platforms that share a layer."""
    shared = {"shared": noise(20, 10_000)}
    own = {name: {"own": noise(seed, 10_000)} for seed, name in enumerate(("amd64", "arm64"), start=21)}
    return make_index(
        tmp_path_factory.mktemp("index"), {name: [shared, layer] for name, layer in own.items()}
    )


@pytest.fixture
def runnable(tmp_path: Path, busybox: bytes, architecture: str) -> Layout:
    """An image for this machine whose command prints `it runs`."""
    layers = [{"bin/busybox": busybox}, {"said": b"it runs\n"}]
    return make_image(tmp_path / "runnable", layers, architecture, ["/bin/busybox", "cat", "/said"])


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Mapping[str, str]]]:
    """Gives the environment in which a client finds its engine, which is started when it is first asked for."""
    makers = {"docker": docker_engine, "ctr": containerd_engine}
    found: dict[str, Mapping[str, str]] = {}
    with ExitStack() as running:

        def find(client: str) -> Mapping[str, str]:
            if client in makers and client not in found:
                engine = running.enter_context(makers[client](tmp_path_factory.mktemp(client)))
                found[client] = {name: value for name, value in engine.environment.items() if name != "HOME"}
            return found.get(client, {})

        yield find


@pytest.fixture
def terminal(
    tmp_path_factory: pytest.TempPathFactory, architecture: str, engines: Callable[[str], Mapping[str, str]]
) -> Iterator[Callable[[str, Registry], Terminal]]:
    """Makes a terminal for a client and a registry."""
    folders = []

    def make(client: str, registry: Registry) -> Terminal:
        require(client)
        if client in {"podman", "buildah"}:
            require_root()
        folder = tmp_path_factory.mktemp("home")  # its name must be short, for podman
        folders.append(folder)
        return Terminal(client, registry.host, folder, {**furnish(folder, architecture), **engines(client)})

    yield make
    for folder in folders:
        clear(folder)
