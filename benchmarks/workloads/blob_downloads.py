"""Blobs of all sizes, whole and in parts, to clients that read as fast as they can and to one that checks them."""

from __future__ import annotations

import hashlib
import random
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.content import REPOSITORY
from benchmarks.load import requests, transfers
from benchmarks.outcome import GIB, MIB, Outcome, Row, median_rows, ratio_goal
from benchmarks.workloads.clients import Clients
from benchmarks.workloads.sizes import cost_goal, rounds, sizes, written_clients, written_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from benchmarks.bench import Bench
    from benchmarks.content import Blob
    from benchmarks.processes import Server
    from benchmarks.workloads.clients import Job
    from benchmarks.workloads.wire import Wire

    Measure = Callable[[Server], Mapping[str, float]]

_SHARE_OF_SECONDS = 0.25
_ROUNDS = 2
_PARTS = 64
_LARGE_BYTES = 100 * MIB
_CHECKED = f"GET {written_size(_LARGE_BYTES)}, 1 client that hashes"


def blob_downloads(bench: Bench) -> Outcome:
    """Goals: 0.9 of nginx to a client that checks the digest; no more processor time a GiB than Distribution."""
    image, blobs = bench.image(), [bench.source.blob(size) for size in sizes(bench.scale)]
    seconds, rows = bench.scale.seconds * _SHARE_OF_SECONDS, []
    with Clients() as clients, bench.all_running(bench.contestants) as servers:
        for server in servers:
            server.contestant.publish(server, [*blobs, *image.blobs], image.manifest())
        for number in rounds(bench.scale, _ROUNDS):
            for case, measure in _cases(bench, clients, blobs, seconds):
                # These take long enough for one round to do.
                if number == 0 or not case.startswith(f"GET {written_size(GIB)}"):
                    rows += [Row(case, server.contestant.name, measure(server)) for server in servers]
    medians = median_rows(rows)
    large = [row.case for row in medians if row.contestant == "cargohold" and transfers.RATE in row.figures]
    return Outcome(
        "Blob downloads",
        "Blobs in the system's memory, each client with a connection and a buffer of its own, and one request at a"
        " time. Those of 1 KiB are asked for by wrk. Real clients check the digest of what they get, which takes a core"
        " nearly all of the time; those that do not show what the server can do. Parts are at random places.",
        medians,
        [
            *ratio_goal(medians, _CHECKED, transfers.RATE, "nginx", 0.9),
            *(goal for case in large for goal in cost_goal(medians, case)),
        ],
    )


def _cases(
    bench: Bench, clients: Clients, blobs: Sequence[Blob], seconds: float
) -> Iterator[tuple[str, Measure]]:
    """Each case, and what measures a server in it."""
    smallest, *larger = blobs
    checked = next(blob for blob in blobs if blob.size == _LARGE_BYTES)
    hashed = _CHECKED, partial(_transfer, clients, 1, [partial(_read_and_hash, checked)], seconds)
    # At both ends of a round, as a goal that one bad moment of the machine should not decide.
    yield hashed
    for count in (1, 16, 64) if bench.scale.rounds > 1 else (16,):
        by = written_clients(count)
        yield f"HEAD, {by}", partial(_ask, smallest, "HEAD", count)
        yield f"GET {written_size(smallest.size)}, {by}", partial(_ask, smallest, "GET", count)
        for blob in larger:
            jobs = [partial(_read, blob)] * count
            yield f"GET {written_size(blob.size)}, {by}", partial(_transfer, clients, count, jobs, seconds)
        parts = [partial(_read_part, blobs[-1], random.Random(part)) for part in range(max(count, _PARTS))]
        case = f"GET 1 MiB of {written_size(blobs[-1].size)}, {by}"
        yield case, partial(_transfer, clients, count, parts, seconds)
    yield hashed


def _ask(blob: Blob, method: str, clients: int, server: Server) -> Mapping[str, float]:
    # The least that wrk can do.
    return requests.get(server, _path(blob), clients, 1.0, {"Accept": "*/*"}, method=method).figures()


def _transfer(
    clients: Clients, count: int, jobs: Sequence[Job], seconds: float, server: Server
) -> Mapping[str, float]:
    return clients.run(server, count, jobs, seconds, is_endless=True).by_size()


def _read(blob: Blob, wire: Wire) -> int:
    length = wire.read(200, _path(blob))
    if length != blob.size:
        raise RuntimeError(f"{length} bytes came of a blob of {blob.size}")
    return length


def _read_part(blob: Blob, places: random.Random, wire: Wire) -> int:
    start = places.randrange(blob.size - MIB)
    length = wire.read(206, _path(blob), f"Range: bytes={start}-{start + MIB - 1}")
    if length != MIB:
        raise RuntimeError(f"{length} bytes came where {MIB} were asked for")
    return length


def _read_and_hash(blob: Blob, wire: Wire) -> int:
    hasher = hashlib.sha256()
    length = wire.read(200, _path(blob), take=hasher.update)
    if f"sha256:{hasher.hexdigest()}" != blob.digest:
        raise RuntimeError("what came is not the blob that was asked for")
    return length


def _path(blob: Blob) -> str:
    return f"/v2/{REPOSITORY}/blobs/{blob.digest}"
