"""Big and many: memory depends on neither, and what was begun goes on after a kill."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.memory import MIB, Watch
from tests.e2e.pushing import data_file, digest_of, pull_blob, start_upload
from tests.http.serving import until
from tests.http.wire import TIMEOUT, Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.e2e.conftest import Start
    from tests.e2e.server import Server

GIB = 1024 * MIB
ONE_BLOB_BOUND = 100 * MIB
MANY_UPLOADS_BOUND = 200 * MIB
UPLOADS = 100
CLIENTS = 20
ROOM = 25 * GIB


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    """A place for a storage that is too big to be left behind."""
    yield tmp_path / "data"
    shutil.rmtree(tmp_path)


class Pattern:
    """Content of so many MiB that is made as it is read; of another `name`, other content in every MiB."""

    def __init__(self, name: str, size: int) -> None:
        self._block = os.urandom(MIB - 64)
        self._name = name
        self._count = size // MIB
        hasher = hashlib.sha256()
        for piece in self:
            hasher.update(piece)
        self.digest = f"sha256:{hasher.hexdigest()}"

    def __iter__(self) -> Iterator[bytes]:
        for number in range(self._count):
            yield f"{self._name} {number}".ljust(64).encode() + self._block

    def __len__(self) -> int:
        return self._count * MIB


def push(server: Server, pattern: Pattern) -> None:
    with Wire(server.url) as wire:
        location = start_upload(wire, "big")
    connection = HTTPConnection(server.host, timeout=60)
    headers = {"Content-Length": str(len(pattern))}
    connection.request("PUT", f"{location}?digest={pattern.digest}", body=iter(pattern), headers=headers)
    assert connection.getresponse().status == 201
    connection.close()


def pull(server: Server, digest: str) -> str:
    """The digest of the bytes that come."""
    connection = HTTPConnection(server.host, timeout=60)
    connection.request("GET", f"/v2/big/blobs/{digest}")
    response = connection.getresponse()
    assert response.status == 200
    hasher = hashlib.sha256()
    while piece := response.read(MIB):
        hasher.update(piece)
    connection.close()
    return f"sha256:{hasher.hexdigest()}"


def require_room(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < ROOM:
        pytest.skip(f"{folder} has {free / GIB:.0f} GiB free, this needs {ROOM / GIB:.0f}")


@pytest.mark.parametrize(
    "size", [512 * MIB, pytest.param(10 * GIB, marks=[pytest.mark.slow, pytest.mark.timeout(900)])]
)
def test_big_blob(scratch: Path, start: Start, size: int) -> None:
    """A blob goes up and down while the memory of all processes stays under 100 MiB, whatever its size."""
    if size > GIB:
        require_room(scratch.parent)
    server = start(storage=scratch)
    pattern = Pattern("big", size)
    with Watch(server) as memory:
        push(server, pattern)
        assert pull(server, pattern.digest) == pattern.digest
    assert data_file(server, pattern.digest).stat().st_size == size
    assert memory.peak < ONE_BLOB_BOUND, f"{memory.peak / MIB:.0f} MiB"


@pytest.mark.parametrize(
    "size", [4 * MIB, pytest.param(100 * MIB, marks=[pytest.mark.slow, pytest.mark.timeout(900)])]
)
def test_many_uploads_at_once(scratch: Path, start: Start, size: int) -> None:
    """100 uploads that are all half done at the same time end well, in less than 200 MiB of memory."""
    if size * UPLOADS > GIB:
        require_room(scratch.parent)
    server = start(storage=scratch)
    half_done = threading.Barrier(UPLOADS, timeout=600)

    def upload(number: int) -> str:
        pattern = Pattern(str(number), size)
        with Wire(server.url) as wire:
            location = start_upload(wire, f"many/{number % 7}")
            wire.socket.settimeout(600)
            wire.request("PUT", f"{location}?digest={pattern.digest}", f"Content-Length: {size}")
            for sent, piece in enumerate(pattern):
                if sent == size // MIB // 2:
                    half_done.wait()
                wire.send(piece)
            assert wire.response(to="PUT").status == 201
        return pattern.digest

    with Watch(server) as memory:
        digests = in_threads(UPLOADS, upload)
    assert [data_file(server, digest).stat().st_size for digest in digests] == [size] * UPLOADS
    assert memory.peak < MANY_UPLOADS_BOUND, f"{memory.peak / MIB:.0f} MiB"


def in_threads(count: int, function: Callable[[int], str]) -> list[str]:
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(function, range(count)))


def test_same_blob_by_many_clients(scratch: Path, start: Start) -> None:
    """20 clients that push the same blob at once, to one repository and to others, all get 201 for one content."""
    server = start({"workers": 2}, storage=scratch)
    content = os.urandom(16 * MIB)
    together = threading.Barrier(CLIENTS, timeout=TIMEOUT)

    def push_one(number: int) -> str:
        repository = "same" if number % 2 else f"same/{number}"
        with Wire(server.url) as wire:
            location = start_upload(wire, repository)
            assert wire.ask("PATCH", location, body=content[: number * MIB // 2]).status == 202
            together.wait()
            rest = content[number * MIB // 2 :]
            response = wire.ask("PUT", f"{location}?digest={digest_of(content)}", body=rest)
            assert response.status == 201, response
            assert pull_blob(wire, repository, digest_of(content)) == content
        return repository

    assert len(set(in_threads(CLIENTS, push_one))) == 1 + CLIENTS // 2
    # What was stored twice is removed as soon as the folder of such things has had a rest.
    until(lambda: big_files(server) == [data_file(server, digest_of(content))])


def big_files(server: Server) -> list[Path]:
    found = []
    for folder, _, names in os.walk(server.storage):
        for path in (Path(folder, name) for name in names):
            with suppress(FileNotFoundError):
                if path.stat().st_size > MIB:
                    found.append(path)
    return found


@pytest.mark.parametrize("stop", ["kill", "stop"])
def test_upload_goes_on_after_restart(start: Start, stop: str) -> None:
    """A session that was in mid-PATCH when the server was killed, or stopped, goes on in a new server.

    It holds no less than was acknowledged and no more than was sent, and ends in the right content.
    """
    first = start({"workers": 2})
    content = os.urandom(20 * MIB)
    acknowledged, sent = 3 * MIB, 12 * MIB
    with Wire(first.url) as wire, Wire(first.url) as other:
        location = start_upload(wire, "begun")
        assert wire.ask("PATCH", location, body=content[:acknowledged]).status == 202
        wire.request("PATCH", location, f"Content-Length: {len(content) - acknowledged}")
        wire.send(content[acknowledged:sent])
        until(lambda: size_of(other, location) > acknowledged)
        if stop == "kill":
            first.kill()
        else:
            wire.reset()
            assert first.stop() == 0

    second = start({"workers": 2}, storage=first.storage)
    with Wire(second.url) as wire:
        held = size_of(wire, location)
        assert acknowledged < held <= sent
        middle = (held + len(content)) // 2
        chunk = f"Content-Range: {held}-{middle - 1}"
        assert wire.ask("PATCH", location, chunk, body=content[held:middle]).status == 202
        response = wire.ask("PUT", f"{location}?digest={digest_of(content)}", body=content[middle:])
        assert response.status == 201
        assert pull_blob(wire, "begun", digest_of(content)) == content


def size_of(wire: Wire, location: str) -> int:
    response = wire.ask("GET", location)
    assert response.status == 204
    return int(response["range"].removeprefix("0-")) + 1
