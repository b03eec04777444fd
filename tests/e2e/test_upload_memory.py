"""What uploads that come at once take of the memory, by the number of them and by their size."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TYPE_CHECKING

import pytest

from tests.e2e.memory import MIB, Watch
from tests.e2e.pushing import digest_of, start_upload
from tests.http.wire import Wire

if TYPE_CHECKING:
    from tests.e2e.conftest import Start

MOST = 200 * MIB
WAIT_SECONDS = 60.0
PIECE = 64 << 10


@pytest.mark.parametrize(
    ("uploads", "size"),
    [(100, 6 * MIB), (400, MIB)],
    ids=["a hundred", "as fifty pushes of eight layers"],
)
def test_memory_of_uploads_at_once(start: Start, uploads: int, size: int) -> None:
    """All processes together stay within 200 MB, whether a hundred large blobs come at once or hundreds of small ones.

    Each client stops in the middle until all have come so far.
    """
    server = start()
    content = os.urandom(size)
    digest, middle = digest_of(content), size // 2 + 1
    at_middle = Barrier(uploads)

    def upload(number: int) -> int:
        with Wire(server.url) as wire:
            wire.socket.settimeout(WAIT_SECONDS)
            session = start_upload(wire, f"m/{number}")
            wire.request("PUT", f"{session}?digest={digest}", f"Content-Length: {size}")
            for begin, end in ((0, middle), (middle, size)):
                for at in range(begin, end, PIECE):
                    wire.send(content[at : min(at + PIECE, end)])
                if end == middle:
                    at_middle.wait(WAIT_SECONDS)
            return wire.response().status

    with ThreadPoolExecutor(uploads) as clients, Watch(server) as watch:
        assert set(clients.map(upload, range(uploads))) == {201}
    assert watch.peak < MOST
