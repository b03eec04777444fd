"""Small blobs: the configs of images, charts, signatures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.content import REPOSITORY
from benchmarks.load import requests
from benchmarks.outcome import Outcome, limit_goal, ratio_goal
from benchmarks.workloads.gets import CASE, CLIENTS, measure_gets

if TYPE_CHECKING:
    from benchmarks.bench import Bench

_BYTES = 10_000


def small_blobs(bench: Bench) -> Outcome:
    """Goals: faster than Distribution, and 5 ms for all but one answer in a hundred."""
    image, blob = bench.image(), bench.source.blob(_BYTES)
    path = f"/v2/{REPOSITORY}/blobs/{blob.digest}"
    rows = measure_gets(bench, path, [blob, *image.blobs], image.manifest(), _BYTES)
    return Outcome(
        "Small blobs",
        f"A blob of {_BYTES:,} bytes, asked for over and over on {CLIENTS} connections.",
        rows,
        [
            *ratio_goal(rows, CASE, requests.RATE, "distribution", 1),
            *limit_goal(rows, CASE, requests.P99, 5),
        ],
    )
