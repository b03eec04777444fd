"""A server that is killed at any moment has all that it acknowledged when it is started again."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.crash.leftovers import left_after_an_hour
from tests.crash.pusher import Pusher
from tests.e2e.dangling import faults
from tests.e2e.server import Server
from tests.http.wire import Wire

if TYPE_CHECKING:
    from collections import Counter
    from pathlib import Path

PUSHERS = 4


@pytest.mark.parametrize(
    "kills", [50, pytest.param(1_000, marks=[pytest.mark.soak, pytest.mark.timeout(3_600)])]
)
def test_killed_at_random_moments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tally: Counter[str], kills: int
) -> None:
    """SIGKILL to all processes in the middle of pushes and deletions: no acknowledged change is lost.

    A change that was not answered is made or not. Every blob is what its digest says, sessions hold what was
    acknowledged of them, nothing points to nothing, and nothing half made stays for ever.
    """
    storage, moments = tmp_path / "data", random.Random()
    pushers = [Pusher(f"crash/{number}", number) for number in range(PUSHERS)]
    with ThreadPoolExecutor(PUSHERS) as pool:
        for _ in range(kills):
            server = Server(storage, {"workers": 2})
            look(server, pushers)
            running = [pool.submit(pusher.run, server.url) for pusher in pushers]
            time.sleep(moments.uniform(0.0, 0.3))
            server.kill()
            for each in running:
                each.result(timeout=60)
            assert "Traceback" not in server.log
            tally["kills at random moments"] += 1
    server = Server(storage, {"workers": 2})
    look(server, pushers, at_all=True)
    assert server.stop() == 0
    assert faults(storage) == []
    assert left_after_an_hour(storage, monkeypatch) == []
    assert sum(pusher.acknowledged for pusher in pushers) > 2 * kills
    assert sum(pusher.doubts for pusher in pushers) > kills / 4


def look(server: Server, pushers: list[Pusher], *, at_all: bool = False) -> None:
    try:
        with Wire(server.url) as wire:
            for pusher in pushers:
                pusher.look(wire, at_all=at_all)
    except BaseException:
        server.kill()
        raise
