"""Manifests by tag: what every pull begins with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.content import MANIFEST_TYPE, REPOSITORY, TAG
from benchmarks.load import requests
from benchmarks.load.connection import Connection
from benchmarks.outcome import Outcome, Row, limit_goal, median_rows, ratio_goal

if TYPE_CHECKING:
    from benchmarks.bench import Bench

_CLIENTS = 16
_CASE = f"GET by tag, {_CLIENTS} clients"
_PATH = f"/v2/{REPOSITORY}/manifests/{TAG}"


def manifests_by_tag(bench: Bench) -> Outcome:
    """Goals: 5 times Distribution, half of nginx, and 5 ms for all but one answer in a hundred."""
    image = bench.image()
    manifest = image.manifest()
    rows = []
    with bench.all_running(bench.contestants) as servers:
        for server in servers:
            server.contestant.publish(server, image.blobs, manifest)
            with Connection(server.port) as connection:
                assert connection.ask(200, "GET", _PATH, headers={"accept": MANIFEST_TYPE}).body == manifest
        for _ in range(bench.scale.rounds):
            for server in servers:
                took = requests.get(server, _PATH, _CLIENTS, bench.scale.seconds)
                rows.append(Row(_CASE, server.contestant.name, took.figures()))
    medians = median_rows(rows)
    return Outcome(
        "Manifests by tag",
        f"A manifest of {len(manifest)} bytes, asked for over and over on {_CLIENTS} connections. nginx serves the same"
        " bytes as a static file.",
        medians,
        [
            *ratio_goal(medians, _CASE, requests.RATE, "distribution", 5),
            *ratio_goal(medians, _CASE, requests.RATE, "nginx", 0.5),
            *limit_goal(medians, _CASE, requests.P99, 5),
        ],
    )
