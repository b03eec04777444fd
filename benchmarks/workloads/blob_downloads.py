"""Large blobs to clients that read them as fast as they come."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks.content import REPOSITORY
from benchmarks.load.connection import Connection, new_buffer
from benchmarks.load.transfers import transfer
from benchmarks.outcome import MIB, Outcome, Row, median_rows, ratio_goal

if TYPE_CHECKING:
    from benchmarks.bench import Bench
    from benchmarks.content import Blob
    from benchmarks.processes import Server

_CLIENTS = (1, 4)


def blob_downloads(bench: Bench) -> Outcome:
    """Goal: 0.9 of nginx, and what Distribution does."""
    image, blob = bench.image(), bench.source.blob(bench.scale.blob_bytes)
    rows = []
    with bench.all_running(bench.contestants) as servers:
        for server in servers:
            server.contestant.publish(server, [blob, *image.blobs], image.manifest())
        for _ in range(bench.scale.rounds):
            for clients in _CLIENTS:
                rows += [_download(server, blob, clients, bench.scale.blobs) for server in servers]
    medians = median_rows(rows)
    return Outcome(
        "Blob downloads",
        f"A blob of {blob.size // MIB} MiB, in the system's memory, read by each client into a buffer of its own"
        f" {bench.scale.blobs} times.",
        medians,
        [
            goal
            for clients in _CLIENTS
            for peer, bound in (("nginx", 0.9), ("distribution", 1.0))
            for goal in ratio_goal(medians, _case(clients), "MB/s", peer, bound)
        ],
    )


def _case(clients: int) -> str:
    return f"GET, {clients} client{'s' if clients > 1 else ''}"


def _download(server: Server, blob: Blob, clients: int, times: int) -> Row:
    jobs = [partial(_read, blob, new_buffer()) for _ in range(clients)] * times
    took = transfer(server, clients, jobs)
    return Row(_case(clients), server.contestant.name, took.figures())


def _read(blob: Blob, buffer: bytearray, connection: Connection) -> int:
    length = connection.download(f"/v2/{REPOSITORY}/blobs/{blob.digest}", buffer)
    if length != blob.size:
        raise RuntimeError(f"{length} bytes came of a blob of {blob.size}")
    return length
