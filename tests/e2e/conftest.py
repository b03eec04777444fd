from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Protocol

import pytest

from tests.e2e.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path


class Start(Protocol):
    """Starts a server that is stopped when the test ends; `storage` defaults to a fresh folder."""

    def __call__(
        self,
        settings: Mapping[str, object] | None = None,
        *,
        storage: Path | None = None,
        port: int = 0,
        launcher: Sequence[str] = (),
    ) -> Server: ...


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server with all defaults, for tests that keep to repositories of their own."""
    server = Server(tmp_path_factory.mktemp("registry") / "data")
    yield server
    assert server.stop() == 0
    assert "Traceback" not in server.log


@pytest.fixture
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Servers of one's own; none of them may have logged a traceback."""
    servers: list[Server] = []
    folders: list[Path] = []

    def begin(
        settings: Mapping[str, object] | None = None,
        *,
        storage: Path | None = None,
        port: int = 0,
        launcher: Sequence[str] = (),
    ) -> Server:
        if storage is None:
            folders.append(tmp_path_factory.mktemp("storage"))
            storage = folders[-1] / "data"
        server = Server(storage, settings, port=port, launcher=launcher)
        servers.append(server)
        return server

    yield begin
    for server in servers:
        server.stop()
    for server in servers:
        assert "Traceback" not in server.log
    # Tests that pass by gigabytes would fill the disk together.
    for folder in folders:
        shutil.rmtree(folder)
