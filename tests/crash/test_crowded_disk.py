"""A disk that fills up while very many are connected: no upload session is lost, and all of them come to their end."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.e2e.dangling import faults
from tests.e2e.pushing import digest_of, pull_blob, push_blob, start_upload
from tests.e2e.server import Server
from tests.http.serving import until
from tests.http.wire import Wire
from tests.storage.places import fill, small_disk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIB = 1 << 20
DISK, RESERVE = 96 * MIB, 64 * MIB
IDLE, STALLED = 256, 16
SMALL, BIG = 2 * MIB, 32 * MIB
"""Half of a small one is more than is collected before it is put down."""


class Upload:
    """A session, and the content that it is to become, of which the first half is sent in a PATCH that stalls."""

    def __init__(self, server: Server, size: int) -> None:
        self._url = server.url
        self._content = os.urandom(size)
        self.digest = digest_of(self._content)
        with Wire(server.url) as wire:
            self.location = start_upload(wire, "crowded")

    def stall(self) -> Wire:
        """Begin the PATCH; the connection that waits for the rest of it."""
        wire = Wire(self._url)
        wire.request("PATCH", self.location, f"Content-Length: {len(self._content)}")
        wire.send(self._content[: len(self._content) // 2])
        return wire

    def go_on(self, wire: Wire) -> int:
        """Send the rest of it; the status of the answer."""
        wire.send(self._content[len(self._content) // 2 :])
        return wire.response(to="PATCH").status

    def put(self) -> int:
        """End the session with all that it does not hold yet; the status of the answer."""
        with Wire(self._url) as wire:
            held = self.held(wire)
            answer = wire.ask("PUT", f"{self.location}?digest={self.digest}", body=self._content[held:])
        if answer.status != 201:
            [error] = json.loads(answer.body)["errors"]
            assert (answer.status, error["code"]) == (507, "UNAVAILABLE")
            assert "full" in error["message"]
        return answer.status

    def held(self, wire: Wire) -> int:
        answer = wire.ask("GET", self.location)
        assert answer.status == 204, answer
        last = int(answer["range"].removeprefix("0-"))
        return last + 1 if last else 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", DISK // 1024) as place:
        yield place


@pytest.fixture
def server(disk: Path) -> Iterator[Server]:
    made = Server(disk / "data")
    yield made
    assert made.stop() == 0


def test_full_disk_among_many_connections(disk: Path, server: Server) -> None:
    """With 256 idle and 16 stalled connections a PUT that finds no room is told so; nothing else suffers.

    What is stored can be read. Every session keeps what fitted, those that stall too, and when there is room again
    each of them ends in 201.
    """
    known, reserve = os.urandom(3 * MIB), disk / "reserve"
    reserve.write_bytes(bytes(RESERVE))
    with Wire(server.url) as wire:
        push_blob(wire, "crowded", known)
    uploads, big = [Upload(server, SMALL) for _ in range(STALLED)], Upload(server, BIG)
    with ExitStack() as opened:
        stalled = [opened.enter_context(each.stall()) for each in uploads]
        idle = [opened.enter_context(Wire(server.url)) for _ in range(IDLE)]
        # What has come of them may wait for its turn: the disk is to be filled when they have found their room.
        until(lambda: all(each.held(idle[0]) for each in uploads))
        assert big.put() == 507
        filler = fill(disk)
        assert {upload.go_on(wire) for upload, wire in zip(uploads[::2], stalled[::2], strict=True)} == {507}
        for wire in idle[::16]:
            assert pull_blob(wire, "crowded", digest_of(known)) == known
        assert {upload.put() for upload in (*uploads[::2], big)} == {507}
        held = [each.held(idle[0]) for each in uploads]
        assert all(SMALL // 4 <= size < SMALL for size in held), held
        for file in (filler, reserve):
            file.unlink()
        assert {upload.go_on(wire) for upload, wire in zip(uploads[1::2], stalled[1::2], strict=True)} == {
            202
        }
        assert {upload.put() for upload in (*uploads, big)} == {201}
    assert faults(disk / "data") == []
