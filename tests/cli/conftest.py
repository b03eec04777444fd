from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Protocol

import pytest

from tests.cli.hostile import Answers, Hostile
from tests.e2e.conftest import start
from tests.e2e.server import Server
from tests.interop.peer import Peer

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["start"]


class Play(Protocol):
    """Starts a server that answers as the test says, until the test ends."""

    def __call__(self, answers: Answers) -> Hostile: ...


@pytest.fixture
def play() -> Iterator[Play]:
    with ExitStack() as opened:
        yield lambda answers: opened.enter_context(Hostile(answers))


@pytest.fixture(scope="session")
def open_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A registry without a login, in which nothing changes: team/app with the tags 1.0 and latest, and others."""
    with _serving(tmp_path_factory, {"lists.default_page": 2, "lists.max_page": 2}) as server:
        with Peer(server.url) as peer:
            peer.push("team/app", "1.0", "latest", text="one")
            for name in ("a", "b", "c/d"):
                peer.push(name, "1.0", text=name)
        yield server


@pytest.fixture(scope="session")
def scratch_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A registry without a login, for tests that keep to repositories of their own."""
    with _serving(tmp_path_factory, {}) as server:
        yield server


@contextmanager
def _serving(folders: pytest.TempPathFactory, settings: dict[str, object]) -> Iterator[Server]:
    server = Server(folders.mktemp("registry") / "data", {"workers": 1, **settings})
    yield server
    assert server.stop() == 0
    assert "Traceback" not in server.log
