"""Blobs that go while they are being asked for."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.e2e.pushing import digest_of
from tests.interop.peer import Peer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.interop.conftest import Serve

ROUNDS = 150
CLIENTS = 6
CONTENTS = {digest_of(content): content for content in (os.urandom(size) for size in (1, 10_000, 2_000_000))}


PLAIN = b"Not found"  # what the HTTP server says of a file that went after all of our own looks


def _pull_until(url: str, ended: threading.Event, may_be_plain: bool) -> tuple[int, int]:
    """Ask for every blob, whole and in part, again and again: how many answers were content, how many a 404."""
    served = missed = 0
    with Peer(url) as peer:
        while not ended.is_set():
            for digest, content in CONTENTS.items():
                for headers, part in (({}, content), ({"Range": "bytes=0-0"}, content[:1])):
                    answer = peer.http.get(f"/v2/app/blobs/{digest}", headers=headers)
                    if answer.status_code == 404:
                        if not (may_be_plain and answer.content == PLAIN):
                            assert answer.json()["errors"][0]["code"] == "BLOB_UNKNOWN"
                        missed += 1
                    else:
                        assert answer.status_code == (206 if headers else 200), answer.text
                        assert answer.content == part
                        assert answer.headers.get("docker-content-digest", digest) == digest
                        served += 1
    return served, missed


def _race(ours: Peer, round_: Callable[[], None], *, may_be_plain: bool = False) -> None:
    ended = threading.Event()
    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [
            pool.submit(_pull_until, str(ours.http.base_url), ended, may_be_plain) for _ in range(CLIENTS)
        ]
        try:
            for _ in range(ROUNDS):
                round_()
        finally:
            ended.set()
        counts = [client.result(60) for client in clients]
    assert all(map(sum, zip(*counts, strict=True))), counts


@pytest.mark.slow
def test_deleted_and_pushed(cargohold: Serve) -> None:
    """A blob that is deleted and pushed again all the while is a JSON 404 or the whole content, never other bytes."""
    with cargohold(workers=2) as ours:

        def round_() -> None:
            for digest, content in CONTENTS.items():
                assert ours.push_blob("app", content) == digest
            for digest in CONTENTS:
                ours.delete(f"app/blobs/{digest}")

        _race(ours, round_)


@pytest.mark.slow
def test_content_removed(cargohold: Serve, root: Path) -> None:
    """Where the content itself is taken away under the server's hands, as by another server's collection, the same.

    But for one thing: a large file that goes at the very last moment is a 404 with a plain body.
    """
    with cargohold(workers=2) as ours:
        paths = {}
        for digest, content in CONTENTS.items():
            ours.push_blob("app", content)
            encoded = digest.partition(":")[2]
            paths[root / "docker/registry/v2/blobs/sha256" / encoded[:2] / encoded / "data"] = content

        def round_() -> None:
            for path, content in paths.items():
                path.unlink()
                whole = path.with_suffix(".new")
                whole.write_bytes(content)
                whole.rename(path)

        _race(ours, round_, may_be_plain=True)
