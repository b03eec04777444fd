from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import pytest

from tests.e2e.clients.absence import require
from tests.e2e.server import Server
from tests.interop.distribution import Distribution
from tests.interop.peer import Peer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path


class Turn(Protocol):
    """Starts a server on the tree of the test, for the length of a `with`; gives its HTTP interface."""

    def __call__(self) -> AbstractContextManager[Peer]: ...


class Serve(Turn, Protocol):
    """The same with settings by their dotted names, written with double underscores."""

    def __call__(self, **settings: object) -> AbstractContextManager[Peer]: ...


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where the tree of the test lies."""
    return tmp_path / "data"


@pytest.fixture
def cargohold(root: Path) -> Serve:
    """Ours."""

    @contextmanager
    def serve(**settings: object) -> Iterator[Peer]:
        server = Server(root, {name.replace("__", "."): value for name, value in settings.items()})
        try:
            with Peer(server.url) as peer:
                yield peer
        finally:
            code = server.stop()
        assert code == 0
        assert "Traceback" not in server.log

    return serve


@pytest.fixture(params=["docker-registry", "registry"])
def program(request: pytest.FixtureRequest) -> str:
    """Debian's package of Distribution 2.x, and 3.x where that is on PATH."""
    name: str = request.param
    if name == "registry" and shutil.which(name) is None:
        pytest.skip("Distribution 3 is not installed: its program is `registry`")
    return require(name)


@pytest.fixture
def distribution(root: Path, tmp_path: Path, program: str) -> Turn:
    """Theirs."""

    @contextmanager
    def serve() -> Iterator[Peer]:
        server = Distribution(program, root, tmp_path / "distribution.json")
        try:
            with Peer(server.url) as peer:
                yield peer
        finally:
            server.stop()

    return serve
