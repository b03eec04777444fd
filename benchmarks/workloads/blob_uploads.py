"""Large blobs from clients that send them as fast as they are taken, beside what one core and the disk can do."""

from __future__ import annotations

import hashlib
import time
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.content import REPOSITORY
from benchmarks.load.disk import write_rate
from benchmarks.load.transfers import transfer
from benchmarks.outcome import MIB, Goal, Outcome, Row, figure, median_rows, ratio_goal

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.bench import Bench
    from benchmarks.content import Blob
    from benchmarks.load.connection import Connection
    from benchmarks.processes import Server

_CHUNK_BYTES = 16 * MIB
_CASES = ("PUT, 1 client", "PUT, 4 clients", f"PATCH of {_CHUNK_BYTES // MIB} MiB, 1 client")
_LIMITS = ("SHA-256, 1 core", "write and fsync")
_RATE = "MB/s"


def blob_uploads(bench: Bench) -> Outcome:
    """Goals: twice Distribution; with one client, 0.8 of SHA-256 or of the disk, whichever is slower."""
    rows: list[Row] = []
    for _ in range(bench.scale.rounds):
        rows += _limits(bench)
        with bench.all_running(bench.registries) as servers:
            for server in servers:
                rows += [
                    _upload(bench, server, _CASES[0], 1, _put),
                    _upload(bench, server, _CASES[1], 4, _put),
                    _upload(bench, server, _CASES[2], 1, _patch),
                ]
    medians = median_rows(rows)
    return Outcome(
        "Blob uploads",
        f"{bench.scale.blobs} blobs of {bench.scale.blob_bytes // MIB} MiB, all different, by the clients in turn."
        " The limits are those of the same bytes hashed by one core, and written to one file and synced. Both"
        " registries sync a blob before they answer; cargohold syncs its new name too, Distribution does not.",
        medians,
        [
            *(goal for case in _CASES for goal in ratio_goal(medians, case, _RATE, "distribution", 2)),
            *_share_of_limit(medians, _CASES[0]),
            *_share_of_limit(medians, _CASES[2]),
        ],
    )


def _upload(
    bench: Bench, server: Server, case: str, clients: int, push: Callable[[Blob, Connection], int]
) -> Row:
    blobs = bench.source.blobs(bench.scale.blob_bytes, bench.scale.blobs)
    took = transfer(server, clients, [partial(push, blob) for blob in blobs])
    return Row(case, server.contestant.name, took.figures())


def _put(blob: Blob, connection: Connection) -> int:
    connection.push_blob(REPOSITORY, blob)
    return blob.size


def _patch(blob: Blob, connection: Connection) -> int:
    connection.push_blob_in_chunks(REPOSITORY, blob, _CHUNK_BYTES)
    return blob.size


def _limits(bench: Bench) -> list[Row]:
    blob = bench.source.blob(bench.scale.blob_bytes)
    with open(blob.path, "rb") as file:
        content = file.read(blob.shared)
    started = time.thread_time()  # of the core, not of the clock: what else runs does not count
    hashlib.sha256(content).digest()
    hashed = time.thread_time()
    rates = (len(content) / (hashed - started), write_rate(bench.folder, content, bench.scale.blobs))
    return [Row(limit, "limit", {_RATE: rate / 1e6}) for limit, rate in zip(_LIMITS, rates, strict=True)]


def _share_of_limit(rows: list[Row], case: str) -> list[Goal]:
    ours = figure(rows, case, "cargohold", _RATE)
    limits = {limit: figure(rows, limit, "limit", _RATE) or 0.0 for limit in _LIMITS}
    slower = min(limits, key=limits.__getitem__)
    text = f"{case}: {_RATE}, share of the slower limit ({slower})"
    return [] if ours is None else [Goal(text, ours / limits[slower], 0.8, at_least=True)]
