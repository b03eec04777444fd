"""Layers mounted from one repository into another: what a push does where the registry has the layers already."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks.content import REPOSITORY
from benchmarks.load import requests
from benchmarks.outcome import Outcome, Row, median_rows, ratio_goal
from benchmarks.workloads.sizes import rounds, written_clients

if TYPE_CHECKING:
    from benchmarks.bench import Bench
    from benchmarks.content import Blob

_CLIENTS = (1, 16)
_LAYERS = 10
_BYTES = 1 << 20
_ROUNDS = 2
_SECONDS = 1.0


def mounts(bench: Bench) -> Outcome:
    """Goal: twice Distribution."""
    layers, image, rows, first = bench.source.blobs(_BYTES, _LAYERS), bench.image(), [], 0
    with bench.all_running(bench.registries) as servers:
        for server in servers:
            server.contestant.publish(server, [*layers, *image.blobs], image.manifest())
        for _ in rounds(bench.scale, _ROUNDS):
            for clients in _CLIENTS:
                first += 1_000_000
                for server in servers:
                    took = requests.send(
                        server,
                        partial(_mount, layers, first),
                        201,
                        clients,
                        min(bench.scale.seconds, _SECONDS),
                    )
                    rows.append(Row(_case(clients), server.contestant.name, took.figures()))
    medians = median_rows(rows)
    return Outcome(
        "Mounts from another repository",
        f"`POST ...?mount=...&from=...` of a blob of {_BYTES >> 20} MiB, answered with 201: {_LAYERS} into each"
        " repository, which is not there before. Distribution syncs each link and its folder, cargohold the new folders"
        " above too; zot syncs nothing.",
        medians,
        [
            goal
            for clients in _CLIENTS
            for goal in ratio_goal(medians, _case(clients), requests.RATE, "distribution", 2)
        ],
    )


def _case(clients: int) -> str:
    return f"mount, {written_clients(clients)}"


def _mount(layers: list[Blob], first: int, number: int) -> bytes:
    layer = layers[number % _LAYERS]
    path = f"/v2/bench/mounted/r{first + number // _LAYERS}/blobs/uploads/?mount={layer.digest}&from={REPOSITORY}"
    return requests.request("POST", path)
