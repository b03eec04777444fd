"""Manifests that do not come to their end take a bounded part of the server's memory, and keep no one waiting."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from tests.e2e.memory import MIB, Watch
from tests.e2e.pushing import EMPTY, make_manifest, push_blob, put_manifest
from tests.http.wire import Wire

if TYPE_CHECKING:
    from tests.e2e.conftest import Start

STALLED = 80
BOUND = 160 * MIB


def test_stalled_manifests(start: Start) -> None:
    """Of 80 pushes of 4 MiB that stall before their end some are 503, others push on, and memory is bounded."""
    server = start({"workers": 1})
    with Watch(server) as memory, ExitStack() as opened:
        stalled = [opened.enter_context(Wire(server.url)) for _ in range(STALLED)]
        for wire in stalled:
            wire.request("PUT", "/v2/stalled/manifests/v1", f"Content-Length: {4 * MIB}")
            wire.send(b" " * (4 * MIB - 1))
        with Wire(server.url) as wire:
            push_blob(wire, "others", EMPTY)
            assert put_manifest(wire, "others", "v1", make_manifest("small")).status == 201
        refused = stalled[-1].response()
        assert (refused.status, refused["retry-after"]) == (503, "5")
        for wire in stalled:
            wire.socket.close()
    assert memory.peak < BOUND, f"{memory.peak / MIB:.0f} MiB"
