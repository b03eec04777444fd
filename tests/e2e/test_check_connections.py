"""Connections that do nothing cost little and keep no one waiting."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

from tests.e2e.memory import MIB, Watch
from tests.e2e.pushing import (
    EMPTY,
    digest_of,
    make_manifest,
    pull_digest,
    push_blob,
    put_manifest,
    start_upload,
)
from tests.http.wire import Wire

if TYPE_CHECKING:
    from tests.e2e.conftest import Start
    from tests.e2e.server import Server

IDLE = 256
STALLED = 16
BOUND = 100 * MIB
BIG = os.urandom(64 * MIB)
ROUNDS = 50


def connect_idle(server: Server) -> Wire:
    return Wire(server.url)


def connect_idle_after_request(server: Server) -> Wire:
    wire = Wire(server.url)
    assert wire.ask("GET", "/v2/").status == 200
    return wire


def stall_upload(server: Server) -> Wire:
    """In mid-PATCH, with more sent than the server can hold back."""
    wire = Wire(server.url)
    location = start_upload(wire, "stalled")
    wire.request("PATCH", location, f"Content-Length: {len(BIG)}")
    wire.send(BIG[: 3 * MIB])
    return wire


def stall_download(server: Server) -> Wire:
    """In mid-GET of a blob, whose bytes are read no further than the headers."""
    wire = Wire(server.url, receive_buffer=4096)
    wire.request("GET", f"/v2/stalled/blobs/{digest_of(BIG)}")
    assert wire.head().status == 200
    return wire


def test_idle_and_stalled_connections(start: Start) -> None:
    """With 256 idle and 16 stalled connections, others push and pull, each answer in time, in bounded memory."""
    server = start({"workers": 2})
    with Wire(server.url) as wire:
        push_blob(wire, "stalled", BIG)
    kinds = [connect_idle, connect_idle_after_request] * (IDLE // 2) + [stall_upload, stall_download] * (
        STALLED // 2
    )
    with Watch(server) as memory, ExitStack() as opened:
        for connect in kinds:
            opened.enter_context(connect(server))
        for number in range(ROUNDS):
            with Wire(server.url) as wire:
                push_blob(wire, "others", EMPTY)
                push_blob(wire, "others", os.urandom(MIB))
                content = make_manifest(str(number))
                assert put_manifest(wire, "others", f"v{number}", content).status == 201
                assert pull_digest(wire, "others", f"v{number}") == digest_of(content)
    assert memory.peak < BOUND, f"{memory.peak / MIB:.0f} MiB"
