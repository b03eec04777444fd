"""Large blobs to clients that read them as fast as they come, and to one that checks them too."""

from __future__ import annotations

import hashlib
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.content import REPOSITORY
from benchmarks.load.connection import Connection, new_buffer
from benchmarks.load.transfers import transfer
from benchmarks.outcome import MIB, Outcome, Row, median_rows, ratio_goal

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.bench import Bench
    from benchmarks.content import Blob
    from benchmarks.processes import Server

    Read = Callable[[Blob, bytearray, Connection], int]

_CHECKED = "GET, 1 client that hashes"
_RATE = "MB/s"


def blob_downloads(bench: Bench) -> Outcome:
    """Goals: 0.9 of nginx to a client that checks the digest, as those of registries do; what Distribution does."""
    image, blob = bench.image(), bench.source.blob(bench.scale.blob_bytes)
    cases: dict[str, tuple[int, Read]] = {
        _CHECKED: (1, _read_and_hash),
        "GET, 1 client": (1, _read),
        "GET, 4 clients": (4, _read),
    }
    rows = []
    with bench.all_running(bench.contestants) as servers:
        for server in servers:
            server.contestant.publish(server, [blob, *image.blobs], image.manifest())
        for _ in range(bench.scale.rounds):
            for case, (clients, read) in cases.items():
                rows += [_download(bench, server, case, clients, partial(read, blob)) for server in servers]
    medians = median_rows(rows)
    return Outcome(
        "Blob downloads",
        f"A blob of {blob.size // MIB} MiB, in the system's memory, read by each client into a buffer of its own"
        f" {bench.scale.blobs} times. Real clients check the digest of what they get, which takes a core nearly all of"
        " the time; those that do not show what the server can do.",
        medians,
        [
            *ratio_goal(medians, _CHECKED, _RATE, "nginx", 0.9),
            *(goal for case in cases for goal in ratio_goal(medians, case, _RATE, "distribution", 1)),
        ],
    )


def _download(
    bench: Bench, server: Server, case: str, clients: int, read: Callable[[bytearray, Connection], int]
) -> Row:
    jobs = [partial(read, new_buffer()) for _ in range(clients)] * bench.scale.blobs
    return Row(case, server.contestant.name, transfer(server, clients, jobs).figures())


def _read(blob: Blob, buffer: bytearray, connection: Connection) -> int:
    length = connection.download(_path(blob), buffer)
    if length != blob.size:
        raise RuntimeError(f"{length} bytes came of a blob of {blob.size}")
    return length


def _read_and_hash(blob: Blob, buffer: bytearray, connection: Connection) -> int:
    hasher = hashlib.sha256()
    length = connection.download(_path(blob), buffer, hasher.update)
    if f"sha256:{hasher.hexdigest()}" != blob.digest:
        raise RuntimeError("what came is not the blob that was asked for")
    return length


def _path(blob: Blob) -> str:
    return f"/v2/{REPOSITORY}/blobs/{blob.digest}"
