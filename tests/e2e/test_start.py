"""The program starts, answers and stops."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2

from .memory import MIB, proportional_bytes

if TYPE_CHECKING:
    from tests.e2e.conftest import Start


def test_serves_and_stops(start: Start) -> None:
    """It answers at the address that it announces, with as many workers as asked for, and ends with 0 on SIGTERM."""
    server = start({"workers": 2})
    answer = httpx2.get(f"{server.url}/v2/")
    assert (answer.status_code, answer.json()) == (200, {})
    assert answer.headers["docker-distribution-api-version"] == "registry/2.0"
    assert len(server.workers()) == 2
    assert server.stop() == 0


def test_idle_memory(start: Start) -> None:
    """A supervisor and two workers that nothing was asked of yet take 50 MiB together at most."""
    assert proportional_bytes(start({"workers": 2})) <= 50 * MIB
