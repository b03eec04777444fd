"""Files that become faulty while the registry runs."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING

import bcrypt
import pytest

from tests.e2e.test_basic_login import authorization
from tests.http.serving import until
from tests.http.wire import Wire

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.conftest import Start
    from tests.e2e.server import Server

CONNECTIONS = 24
ANN = authorization("ann", "ann")


def statuses(server: Server) -> set[int]:
    """Of new connections, as many as reach every worker."""
    with ExitStack() as opened:
        wires = [opened.enter_context(Wire(server.url)) for _ in range(CONNECTIONS)]
        return {wire.ask("GET", "/v2/", ANN).status for wire in wires}


@pytest.mark.parametrize("trouble", ["gone", "faulty"])
def test_a_worker_is_replaced_though_the_users_cannot_be_read(
    start: Start, tmp_path: Path, trouble: str
) -> None:
    """The others go on with the users that they know; the new one asks to try again, until the file is good."""
    users = tmp_path / "users"
    good = f"ann:{bcrypt.hashpw(b'ann', bcrypt.gensalt(4)).decode()}\n"
    users.write_text(good)
    server = start({"workers": 2, "auth.htpasswd": users})
    assert statuses(server) == {200}
    if trouble == "gone":
        users.unlink()
    else:
        users.write_text("ann without a colon\n")
    lost, _ = server.workers()
    os.kill(lost, signal.SIGKILL)
    until(lambda: len(server.workers()) == 2 and lost not in server.workers())
    until(lambda: statuses(server) == {200, 503})
    assert "nobody can log in until the file can be read" in server.log
    users.write_text(good)
    until(lambda: statuses(server) == {200})
