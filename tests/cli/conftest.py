from __future__ import annotations

from contextlib import ExitStack
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
    """A registry that asks for no login, and has the repository team/app with the tags 1.0 and latest, and others."""
    server = Server(
        tmp_path_factory.mktemp("registry") / "data", {"lists.default_page": 2, "lists.max_page": 2}
    )
    with Peer(server.url) as peer:
        peer.push("team/app", "1.0", "latest", text="one")
        for name in ("a", "b", "c/d"):
            peer.push(name, "1.0", text=name)
    yield server
    assert server.stop() == 0
    assert "Traceback" not in server.log
