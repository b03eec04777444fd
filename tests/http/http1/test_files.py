"""Files on sockets: whole where the system helps, where it does not, and where the other end takes its time."""

from __future__ import annotations

import errno
import os
import socket
import tempfile
import threading
from typing import TYPE_CHECKING, Any

import pytest

from cargohold.http.http1 import files
from cargohold.http.http1.files import PIECE_BYTES, TURN_BYTES, CutOffError, Files, Outlet
from tests.http.http1.running import LOOPS

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator
    from pathlib import Path

CONTENT = os.urandom(3 * TURN_BYTES + 12_345)
PARTS = [
    (0, len(CONTENT)),
    (0, 0),
    (0, 1),
    (5, TURN_BYTES),
    (len(CONTENT) - 1, 1),
    (PIECE_BYTES, TURN_BYTES + 1),
]


@pytest.fixture(params=list(LOOPS))
def loop(request: pytest.FixtureRequest) -> Iterator[asyncio.AbstractEventLoop]:
    created = LOOPS[request.param]()
    yield created
    created.close()


@pytest.fixture
def path(tmp_path: Path) -> str:
    (tmp_path / "content").write_bytes(CONTENT)
    return os.fspath(tmp_path / "content")


def received(
    loop: asyncio.AbstractEventLoop, path: str, start: int, length: int, *, claimed: int | None = None
) -> bytes:
    """What comes out of a socket's other end, after "head", when so much of a file is sent on it."""
    near, far = socket.socketpair()
    near.setblocking(False)
    content = bytearray()

    def take() -> None:
        while piece := far.recv(100_000):
            content.extend(piece)

    async def send() -> None:
        sender = Files()
        file = await sender.open(path)
        try:
            with Outlet(near.fileno()) as outlet:
                await sender.send(outlet, b"head", file, start, length if claimed is None else claimed)
        finally:
            os.close(file)
            sender.close()

    taker = threading.Thread(target=take)
    taker.start()
    try:
        with near:
            loop.run_until_complete(send())
    finally:
        taker.join(20)
        far.close()
    assert content[:4] == b"head"
    return bytes(content[4:])


@pytest.mark.parametrize(("start", "length"), PARTS)
def test_a_part_is_sent_whole(loop: asyncio.AbstractEventLoop, path: str, start: int, length: int) -> None:
    """So many bytes are sent from the start on, in as many turns as it takes."""
    assert received(loop, path, start, length) == CONTENT[start : start + length]


@pytest.mark.parametrize("fault", [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP])
def test_what_the_system_does_not_send_is_read(
    loop: asyncio.AbstractEventLoop, path: str, fault: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a file system knows no sendfile, the same bytes are sent."""

    def refuse(*_: Any) -> int:
        raise OSError(fault, os.strerror(fault))

    monkeypatch.setattr(os, "sendfile", refuse)
    for start, length in PARTS:
        assert received(loop, path, start, length) == CONTENT[start : start + length]


@pytest.mark.parametrize(("start", "length"), PARTS)
def test_where_memory_cannot_be_looked_at_threads_read(
    loop: asyncio.AbstractEventLoop, path: str, start: int, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the system does not tell what is in memory, the same bytes are sent, by a thread."""
    monkeypatch.setattr(files, "_NOWAIT", None)
    assert received(loop, path, start, length) == CONTENT[start : start + length]


@pytest.mark.parametrize("fault", [errno.EAGAIN, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS])
def test_what_is_not_in_memory_is_read_by_threads(
    loop: asyncio.AbstractEventLoop, path: str, fault: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file on a disk, and one of a file system that cannot tell, is sent whole."""

    def refuse(*_: Any) -> int:
        raise OSError(fault, os.strerror(fault))

    monkeypatch.setattr(os, "preadv", refuse)
    assert received(loop, path, 7, len(CONTENT) - 7) == CONTENT[7:]


@pytest.mark.parametrize("call", ["preadv", "sendfile"])
def test_a_broken_disk_is_told_of(
    loop: asyncio.AbstractEventLoop, path: str, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other faults of the system are the caller's to handle, who ends the connection."""

    def fail(*_: Any) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="Input/output"):
        received(loop, path, 0, len(CONTENT))


def test_a_file_of_memory_is_sent(loop: asyncio.AbstractEventLoop) -> None:
    """A file system without a disk beneath it serves as any other."""
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as file:
        file.write(CONTENT)
        file.flush()
        assert received(loop, file.name, 5, len(CONTENT) - 5) == CONTENT[5:]


def test_a_file_that_ends_early_is_cut_off(loop: asyncio.AbstractEventLoop, path: str) -> None:
    """Where a file has fewer bytes than were announced, nobody may take them for the whole."""
    with pytest.raises(CutOffError, match="shorter"):
        received(loop, path, 0, 0, claimed=len(CONTENT) + 1)


def test_reading_past_the_end_is_cut_off(loop: asyncio.AbstractEventLoop, path: str) -> None:
    """A read gives a piece at most, and at the end of the file an error, never nothing."""

    async def read() -> None:
        reader = Files()
        file = await reader.open(path)
        try:
            assert await reader.read(file, 3, len(CONTENT)) == CONTENT[3 : 3 + PIECE_BYTES]
            assert await reader.read(file, 3, 4) == CONTENT[3:7]
            with pytest.raises(CutOffError, match="shorter"):
                await reader.read(file, len(CONTENT), 1)
        finally:
            os.close(file)
            reader.close()

    loop.run_until_complete(read())


def test_a_file_that_is_not_there_cannot_be_opened(loop: asyncio.AbstractEventLoop, tmp_path: Path) -> None:
    """Whoever opens a file learns why it cannot be."""
    opener = Files()
    with pytest.raises(FileNotFoundError):
        loop.run_until_complete(opener.open(os.fspath(tmp_path / "absent")))
    opener.close()


@pytest.mark.parametrize("what", ["head", "file"])
def test_who_takes_nothing_for_long_is_cut_off(
    loop: asyncio.AbstractEventLoop, path: str, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that takes nothing holds neither a file nor a task for ever."""
    monkeypatch.setattr(files, "STALL_SECONDS", 0.2)
    near, far = socket.socketpair()
    near.setblocking(False)

    async def send() -> None:
        sender = Files()
        file = await sender.open(path)
        head = b"x" * 10_000_000 if what == "head" else b""
        try:
            with Outlet(near.fileno()) as outlet:
                await sender.send(outlet, head, file, 0, len(CONTENT))
        finally:
            os.close(file)
            sender.close()

    with near, far, pytest.raises(CutOffError, match="took nothing"):
        loop.run_until_complete(send())


def test_an_outlet_is_a_descriptor_of_its_own() -> None:
    """It can be closed, or the connection be, without the other."""
    near, far = socket.socketpair()
    with far:
        with near, Outlet(near.fileno()) as outlet:
            assert outlet.descriptor != near.fileno()
            near.close()
            os.write(outlet.descriptor, b"still there")
        assert far.recv(100) == b"still there"
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(outlet.descriptor)
