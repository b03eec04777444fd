"""The times of answers to HEAD, GET and PUT of manifests while 16 clients ask at once."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from benchmarks.content import REPOSITORY, TAG
from benchmarks.load import requests
from benchmarks.load.disk import sync_times
from benchmarks.outcome import Outcome, Row, limit_goal, median_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.bench import Bench, Image

_CLIENTS = 16
_TAGS = 100
_HEAD, _GET, _PUT = "HEAD by tag", "GET by digest", "PUT by tag"


def manifest_operations(bench: Bench) -> Outcome:
    """Goal: all but one answer in a hundred within 5 ms, for each operation."""
    image, rows, first = bench.image(), [], 1
    with bench.all_running(bench.registries) as servers:
        for server in servers:
            server.contestant.publish(server, image.blobs, image.manifest())
        for _ in range(bench.scale.rounds):
            for server in servers:
                for case, make, expected in _cases(image, first):
                    took = requests.send(server, make, expected, _CLIENTS, bench.scale.seconds)
                    rows.append(Row(case, server.contestant.name, took.figures()))
            rows.append(_limit(bench))
            first += 1_000_000
    medians = median_rows(rows)
    return Outcome(
        "Manifest operations",
        f"{_CLIENTS} connections, each with one request at a time, from our own client. Each PUT is of a manifest"
        f" that was not there before, and moves one of {_TAGS} tags; both registries sync it before they answer, and"
        " cargohold all its folders too. The limit is that of small files, written and synced by as many threads."
        " The client takes a core; where there are only two, the server has one of them.",
        medians,
        [goal for case in (_HEAD, _GET, _PUT) for goal in limit_goal(medians, case, requests.P99, 5)],
    )


def _cases(image: Image, first: int) -> Iterator[tuple[str, Callable[[int], bytes], int]]:
    """Each case with what makes its requests, and the status of their answers."""
    digest = f"sha256:{hashlib.sha256(image.manifest()).hexdigest()}"
    head = requests.request("HEAD", f"/v2/{REPOSITORY}/manifests/{TAG}")
    get = requests.request("GET", f"/v2/{REPOSITORY}/manifests/{digest}")
    yield _HEAD, lambda _: head, 200
    yield _GET, lambda _: get, 200
    yield _PUT, lambda number: _put(image, first + number), 201


def _limit(bench: Bench) -> Row:
    took = sync_times(bench.folder, _CLIENTS, bench.scale.seconds)
    times = {requests.P50: requests.percentile(took, 50), requests.P99: requests.percentile(took, 99)}
    return Row(
        "write and fsync a small file", "limit", {requests.RATE: len(took) / bench.scale.seconds, **times}
    )


def _put(image: Image, revision: int) -> bytes:
    return requests.request(
        "PUT", f"/v2/{REPOSITORY}/manifests/t{revision % _TAGS}", image.manifest(revision)
    )
