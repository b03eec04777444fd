"""The memory that a registry takes while a hundred clients upload at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from benchmarks.content import REPOSITORY
from benchmarks.load.connection import Connection, with_digest
from benchmarks.outcome import MIB, Outcome, Row, limit_goal, median_rows
from benchmarks.processes import pss, running

if TYPE_CHECKING:
    from benchmarks.bench import Bench
    from benchmarks.content import Blob
    from benchmarks.contestants.contestant import Contestant
    from benchmarks.processes import Server

_UPLOADS = 100
_SAMPLE_SECONDS = 0.1
_WAIT_SECONDS = 300.0
_CASE = f"{_UPLOADS} uploads at once"
_PEAK = "peak PSS MB"


def many_uploads(bench: Bench) -> Outcome:
    """Goal: 200 MB for all processes together."""
    rows = median_rows(_measure(bench, contestant) for contestant in bench.registries)
    return Outcome(
        "Memory during many uploads",
        f"{_UPLOADS} clients each PUT a blob of {bench.scale.many_blob_bytes // MIB} MiB, as fast as it is taken; all"
        " stop in the middle until the last has come so far. The highest sum of the processes' PSS, looked at every"
        f" {_SAMPLE_SECONDS:g} s. MB are 2^20 bytes.",
        rows,
        limit_goal(rows, _CASE, _PEAK, 200),
    )


def _measure(bench: Bench, contestant: Contestant) -> Row:
    blobs = bench.source.blobs(bench.scale.many_blob_bytes, _UPLOADS)
    with running(contestant, bench.folder) as server:
        before = pss(server.pids())
        peak = _peak_during_uploads(server, blobs)
        figures = {"idle PSS MB": before / MIB, _PEAK: peak / MIB, "after PSS MB": pss(server.pids()) / MIB}
        return Row(_CASE, contestant.name, figures)


def _peak_during_uploads(server: Server, blobs: list[Blob]) -> int:
    middle = threading.Barrier(len(blobs))
    peak = 0

    def upload(blob: Blob) -> None:
        try:
            _upload_with_a_stop(server.port, blob, middle)
        except BaseException:
            middle.abort()  # or the others would wait for this one
            raise

    with ThreadPoolExecutor(len(blobs)) as pool:
        uploads = [pool.submit(upload, blob) for blob in blobs]
        pause = threading.Event()
        while not all(one.done() for one in uploads):
            peak = max(peak, pss(server.pids()))
            pause.wait(_SAMPLE_SECONDS)
        for one in uploads:
            one.result()
    return peak


def _upload_with_a_stop(port: int, blob: Blob, middle: threading.Barrier) -> None:
    with Connection(port) as connection, open(blob.path, "rb", buffering=0) as file:
        location = connection.start_upload(REPOSITORY)
        connection.begin("PUT", with_digest(location, blob.digest), blob.size)
        connection.send(file, 0, blob.shared // 2)
        middle.wait(_WAIT_SECONDS)
        connection.send(file, blob.shared // 2, blob.shared)
        connection.send_bytes(blob.tail)
        connection.finish(201)
