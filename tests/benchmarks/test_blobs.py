import hashlib
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from benchmarks.bench import Image
from benchmarks.content import REPOSITORY, Blob, Source
from benchmarks.contestants.cargohold import Cargohold
from benchmarks.load import requests, transfers
from benchmarks.outcome import MIB
from benchmarks.processes import Server, running
from benchmarks.workloads.clients import Clients
from benchmarks.workloads.wire import Wire

CHUNK_BYTES = 300_000
Push = Callable[[Wire, str, Blob], None]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return Source(str(tmp_path_factory.mktemp("source")), 4 * MIB)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, source: Source) -> Iterator[Server]:
    program = Cargohold.find()
    assert program is not None
    image = Image(*source.blobs(512, 2))
    with running(Cargohold(program), str(tmp_path_factory.mktemp("bench"))) as server:
        server.contestant.publish(server, image.blobs, image.manifest())
        yield server


def push_in_chunks(wire: Wire, repository: str, blob: Blob) -> None:
    wire.push_in_chunks(repository, blob, CHUNK_BYTES)


@pytest.mark.parametrize("push", [Wire.push, Wire.push_streamed, push_in_chunks])
@pytest.mark.parametrize("size", [30, 64, 1 << 10, 32 << 10, 3 * MIB + 17])
def test_a_blob_comes_back_as_it_was_pushed(server: Server, source: Source, push: Push, size: int) -> None:
    """In whichever way it is sent, and whether a piece ends where another begins or not."""
    blob, hasher = source.blob(size), hashlib.sha256()
    with Wire(server.port) as wire:
        push(wire, REPOSITORY, blob)
        assert wire.read(200, path(blob), take=hasher.update) == blob.size
    assert f"sha256:{hasher.hexdigest()}" == blob.digest


def test_a_part_of_a_blob_is_read(server: Server, source: Source) -> None:
    """As many bytes as are asked for, and those."""
    blob, got = source.blob(MIB), bytearray()
    with Wire(server.port) as wire:
        wire.push(REPOSITORY, blob)
        assert wire.read(206, path(blob), f"Range: bytes={MIB - 64}-{MIB - 33}", take=got.extend) == 32
    assert got == blob.tail[:32]


def test_an_answer_that_is_not_expected_is_told(server: Server, source: Source) -> None:
    """A load of refusals would look fast."""
    with (
        Wire(server.port) as wire,
        pytest.raises(RuntimeError, match=r"no answer of 200 with a length: .* 404 "),
    ):
        wire.read(200, path(source.blob(100)))


def test_clients_share_their_jobs(server: Server, source: Source) -> None:
    """Each job is done once, by several processes; both kinds of rows have a rate, and times in their order."""
    blobs = source.blobs(2_000, 7)
    with Clients() as clients:
        load = clients.run(server, 3, [partial(push, blob) for blob in blobs], 60.0)
        assert (load.bytes, len(load.took)) == (7 * 2_000, 7)
        again = clients.run(server, 3, [partial(read, blob) for blob in blobs], 0.3, is_endless=True)
        assert again.bytes == 2_000 * len(again.took)
        assert len(again.took) > 7
    for figures, rate in ((load.by_number(), requests.RATE), (again.by_size(), transfers.RATE)):
        assert figures[rate] > 0
        assert 0 < figures[requests.P50] <= figures[requests.P99] <= figures[requests.P999]
        assert figures[requests.PEAK] > 5
    assert again.by_size()[transfers.SERVER_CPU] >= 0


def test_what_fails_for_one_client_fails_for_all(server: Server, source: Source) -> None:
    """Nothing is told of a load that was less than was asked for."""
    with Clients() as clients, pytest.raises(RuntimeError, match="no answer of 200"):
        clients.run(server, 2, [partial(read, source.blob(100))] * 2, 0.1)


def push(blob: Blob, wire: Wire) -> int:
    wire.push(REPOSITORY, blob)
    return blob.size


def read(blob: Blob, wire: Wire) -> int:
    return wire.read(200, path(blob))


def path(blob: Blob) -> str:
    return f"/v2/{REPOSITORY}/blobs/{blob.digest}"
