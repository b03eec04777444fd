"""The same GET over and over, from sixteen clients: what several workloads have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.content import MANIFEST_TYPE
from benchmarks.load import requests
from benchmarks.load.connection import Connection
from benchmarks.outcome import Row, median_rows

if TYPE_CHECKING:
    from benchmarks.bench import Bench
    from benchmarks.content import Blob

CLIENTS = 16
CASE = f"GET, {CLIENTS} clients"


def measure_gets(bench: Bench, path: str, blobs: list[Blob], manifest: bytes, length: int) -> list[Row]:
    """Rows of every contestant, which has the blobs and the manifest; the answer at `path` has `length` bytes."""
    rows = []
    with bench.all_running(bench.contestants) as servers:
        for server in servers:
            server.contestant.publish(server, blobs, manifest)
            with Connection(server.port) as connection:
                answer = connection.ask(200, "GET", path, headers={"accept": f"{MANIFEST_TYPE}, */*"})
            if len(answer.body) != length:
                raise RuntimeError(
                    f"{server.contestant.name} answers with {len(answer.body)} bytes, not {length}"
                )
        for _ in range(bench.scale.rounds):
            for server in servers:
                took = requests.get(server, path, CLIENTS, bench.scale.seconds)
                rows.append(Row(CASE, server.contestant.name, took.figures()))
    return median_rows(rows)
