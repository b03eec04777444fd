"""Manifests by tag: what every pull begins with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.content import REPOSITORY, TAG
from benchmarks.load import requests
from benchmarks.outcome import Outcome, limit_goal, ratio_goal
from benchmarks.workloads.gets import CASE, CLIENTS, measure_gets

if TYPE_CHECKING:
    from benchmarks.bench import Bench

_PATH = f"/v2/{REPOSITORY}/manifests/{TAG}"


def manifests_by_tag(bench: Bench) -> Outcome:
    """Goals: 5 times Distribution, half of nginx, and 5 ms for all but one answer in a hundred."""
    image = bench.image()
    manifest = image.manifest()
    rows = measure_gets(bench, _PATH, image.blobs, manifest, len(manifest))
    return Outcome(
        "Manifests by tag",
        f"A manifest of {len(manifest)} bytes, asked for over and over on {CLIENTS} connections. nginx serves the same"
        " bytes as a static file.",
        rows,
        [
            *ratio_goal(rows, CASE, requests.RATE, "distribution", 5),
            *ratio_goal(rows, CASE, requests.RATE, "nginx", 0.5),
            *limit_goal(rows, CASE, requests.P99, 5),
        ],
    )
