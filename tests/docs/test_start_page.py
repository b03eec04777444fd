"""The page that begins with nothing: all that it says to type is typed, and Docker's registry is a server of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.docs.blocks import SHELLS, blocks_of
from tests.docs.session import Session
from tests.e2e.clients.absence import require
from tests.e2e.clients.engine import clear, docker_engine
from tests.e2e.clients.mirror import mirrored, stock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.server import Server

pytestmark = pytest.mark.clients

INSTALL, *TYPED = blocks_of("start.md", *SHELLS)


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("home")  # its name must be short, for podman
    yield folder
    clear(folder)


def test_what_is_typed(registry: Server, home: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Typed one after the other, the commands do what the page says; only the installation is another test's."""
    assert [block.text for block in blocks_of("README.md", "sh")].count(INSTALL.text) == 1
    for client in ("podman", "crane", "curl"):
        require(client)
    stock(registry.url, tmp_path_factory.mktemp("busybox"))
    environment = mirrored(home, registry.host)
    with docker_engine(tmp_path_factory.mktemp("docker"), f"--registry-mirror={registry.url}") as docker:
        environment["DOCKER_HOST"] = docker.environment["DOCKER_HOST"]
        with Session(home, environment) as session:
            for block in TYPED:
                session.type(block)
