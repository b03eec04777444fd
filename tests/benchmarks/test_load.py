import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from benchmarks.bench import Image
from benchmarks.content import REPOSITORY, TAG, Source
from benchmarks.contestants.cargohold import Cargohold
from benchmarks.load import requests
from benchmarks.load.connection import Connection
from benchmarks.outcome import MIB
from benchmarks.processes import Server, running

LOG_SECONDS = 10.0
PATH = f"/v2/{REPOSITORY}/manifests"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return Source(str(tmp_path_factory.mktemp("source")), MIB)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, source: Source) -> Iterator[Server]:
    program = Cargohold.find()
    assert program is not None
    image = Image(*source.blobs(512, 2))
    with running(Cargohold(program), str(tmp_path_factory.mktemp("bench"))) as server:
        server.contestant.publish(server, image.blobs, image.manifest())
        with Connection(server.port) as connection:
            for number in range(5):
                connection.push_manifest(REPOSITORY, f"v{number}", image.manifest(number))
        yield server


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_small_requests_are_told_with_what_they_took(server: Server, method: str) -> None:
    """Each row has a rate, the times in their order, the processor time of both sides, and the server's memory."""
    took = requests.get(server, f"{PATH}/{TAG}", 2, 1.0, method=method)
    figures = took.figures()
    assert took.number > 10
    assert 0 < figures[requests.P50] <= figures[requests.P99] <= figures[requests.P999]
    assert figures[requests.SERVER_CPU] > 0
    assert figures["client CPU-us/request"] > 0
    assert figures[requests.PEAK] > 5


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_many_paths_are_asked_for_in_turn(server: Server, method: str) -> None:
    """None is left out, as the server's log has it."""
    paths = [f"{PATH}/v{number}" for number in range(5)]
    requests.get(server, paths, 2, 1.0, method=method)
    left, until = {f"{method} {path}" for path in paths}, time.monotonic() + LOG_SECONDS
    while left and time.monotonic() < until:
        left -= set(_asked(server))
        time.sleep(0.05)
    assert not left


def test_an_answer_of_another_status_is_a_failure(server: Server) -> None:
    """Figures of errors would be figures of nothing."""
    with pytest.raises(RuntimeError):
        requests.get(server, f"{PATH}/missing", 2, 1.0)


def _asked(server: Server) -> list[str]:
    """Method and path of each request that the server has logged."""
    told = Path(server.folder, "log").read_text(encoding="utf-8").splitlines()
    return [f"{line['method']} {line['path']}" for line in map(msgspec.json.decode, told) if "path" in line]
