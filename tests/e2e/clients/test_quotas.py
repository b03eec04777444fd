"""What clients show of a push that a quota has no room for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.e2e.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.e2e.clients.terminal import Terminal

pytestmark = pytest.mark.clients


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A registry in which a team may hold less than the layer of any image."""
    quotas = json.dumps([{"repository": "team/**", "bytes": 500}])
    server = Server(tmp_path_factory.mktemp("limited") / "data", {"quotas": quotas})
    yield server
    assert server.stop() == 0
    assert "Traceback" not in server.log


@pytest.mark.parametrize("client", ["docker", "podman", "skopeo", "crane", "oras"])
def test_the_message_reaches_the_user(
    client: str, registry: Server, terminal: Callable[[str, Server], Terminal]
) -> None:
    """The client gives up, and prints how much may be held and that it does not fit."""
    said = terminal(client, registry).push_refused("team/app")
    assert "team/** together may hold 500 bytes, of which" in said
