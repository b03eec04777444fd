"""Upload sessions that one server starts and the other takes up."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.e2e.pushing import digest_of
from tests.interop.distribution import Distribution

if TYPE_CHECKING:
    from pathlib import Path

    from tests.interop.conftest import Serve, Turn
    from tests.interop.peer import Peer

pytestmark = pytest.mark.clients

PARTS = [os.urandom(size) for size in (0, 1, 700_001, 64, 3_000_000)]


def _sessions(root: Path) -> list[str]:
    return os.listdir(root / "docker/registry/v2/repositories/app/_uploads")


def _path(upload: str) -> str:
    return f"/v2/app/blobs/uploads/{upload}"


def test_theirs_ended_by_ours(cargohold: Serve, distribution: Turn, root: Path) -> None:
    """A session of Distribution's, of any size, with its saved hash or without a byte, is a blob in the end."""
    with distribution() as theirs:
        for part in PARTS:
            session = theirs.start("app")
            if part:
                theirs.append(session, part)
        uploads = _sessions(root)
    assert len(uploads) == len(PARTS)
    with cargohold() as ours:
        sizes = []
        for upload in uploads:
            data = root / "docker/registry/v2/repositories/app/_uploads" / upload / "data"
            there = data.read_bytes() if data.exists() else b""
            sizes.append(len(there))
            answer = ours.http.get(_path(upload))
            assert answer.headers["range"] == f"0-{max(len(there) - 1, 0)}"
            session = ours.append(_path(upload), b"ours")
            whole = there + b"ours, the end"
            assert ours.finish(session, digest_of(whole), b", the end").status_code == 201
            assert ours.blob("app", digest_of(whole)) == whole
        assert sorted(sizes) == sorted(map(len, PARTS))
    assert _sessions(root) == []


def test_ours_ended_by_theirs(cargohold: Serve, distribution: Turn, root: Path) -> None:
    """A session of ours, of any size, is taken up by Distribution and is a blob in the end."""
    sessions: dict[str, bytes] = {}
    with cargohold() as ours:
        for part in PARTS:
            session = ours.start("app")
            if part:
                ours.append(session, part)
            sessions[session.rpartition("/")[2]] = part
    with distribution() as theirs:
        for upload, part in sessions.items():
            query = Distribution.session("app", upload, len(part))
            session = theirs.append(f"{_path(upload)}?{query}", b"theirs")
            whole = part + b"theirs, the end"
            answer = theirs.finish(session, digest_of(whole), b", the end")
            assert answer.status_code == 201, answer.text
            assert theirs.blob("app", digest_of(whole)) == whole
    assert _sessions(root) == []


@pytest.mark.parametrize("first", ["cargohold", "distribution"])
def test_by_turns(cargohold: Serve, distribution: Turn, root: Path, first: str) -> None:
    """Both at work on one session, a piece each: neither takes up a hash that the other's bytes have made old."""
    with cargohold() as ours, distribution() as theirs:
        starter = ours if first == "cargohold" else theirs
        starter.start("app")
        (upload,) = _sessions(root)
        whole = b""
        for number in range(6):
            whole += _piece(ours if number % 2 else theirs, theirs, upload, whole, b"%d" % number * 300_000)
        answer = ours.finish(_path(upload), digest_of(whole))
        assert answer.status_code == 201, answer.text
        assert theirs.blob("app", digest_of(whole)) == whole
        assert _sessions(root) == []


def _piece(writer: Peer, theirs: Peer, upload: str, before: bytes, piece: bytes) -> bytes:
    query = f"?{Distribution.session('app', upload, len(before))}" if writer is theirs else ""
    writer.append(_path(upload) + query, piece)
    return piece
