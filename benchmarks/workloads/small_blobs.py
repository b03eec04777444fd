"""Small blobs: the configs of images, charts, signatures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.content import REPOSITORY
from benchmarks.load import requests
from benchmarks.load.connection import Connection
from benchmarks.outcome import Outcome, Row, limit_goal, median_rows, ratio_goal
from benchmarks.workloads.sizes import written_clients

if TYPE_CHECKING:
    from benchmarks.bench import Bench

_BYTES = 10_000
_CLIENTS = 16
_MOST_SECONDS = 1.0
_CASE = f"GET, {written_clients(_CLIENTS)}"


def small_blobs(bench: Bench) -> Outcome:
    """Goals: faster than Distribution, and 5 ms for all but one answer in a hundred."""
    image, blob, rows = bench.image(), bench.source.blob(_BYTES), []
    path = f"/v2/{REPOSITORY}/blobs/{blob.digest}"
    with bench.all_running(bench.contestants) as servers:
        for server in servers:
            server.contestant.publish(server, [blob, *image.blobs], image.manifest())
            with Connection(server.port) as connection:
                length = len(connection.ask(200, "GET", path).body)
            if length != _BYTES:
                raise RuntimeError(f"{server.contestant.name} answers with {length} bytes, not {_BYTES}")
        for _ in range(bench.scale.rounds):
            for server in servers:
                took = requests.get(server, path, _CLIENTS, min(bench.scale.seconds, _MOST_SECONDS))
                rows.append(Row(_CASE, server.contestant.name, took.figures()))
    medians = median_rows(rows)
    return Outcome(
        "Small blobs",
        f"A blob of {_BYTES:,} bytes, asked for over and over on {_CLIENTS} connections.",
        medians,
        [
            *ratio_goal(medians, _CASE, requests.RATE, "distribution", 1),
            *limit_goal(medians, _CASE, requests.P99, 5),
        ],
    )
