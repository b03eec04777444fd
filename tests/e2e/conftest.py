from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from tests.e2e.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


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
def start(tmp_path: Path) -> Iterator[Start]:
    """Servers of one's own, whose storages go when the test has passed; none of them may have logged a traceback."""
    servers: list[Server] = []

    def begin(
        settings: Mapping[str, object] | None = None,
        *,
        storage: Path | None = None,
        port: int = 0,
        launcher: Sequence[str] = (),
    ) -> Server:
        storage = storage or Path(tempfile.mkdtemp(prefix="storage", dir=tmp_path)) / "data"
        server = Server(storage, settings, port=port, launcher=launcher)
        servers.append(server)
        return server

    yield begin
    for server in servers:
        server.stop()
    for server in servers:
        assert "Traceback" not in server.log
