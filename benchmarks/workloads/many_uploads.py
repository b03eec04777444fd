"""The memory that a registry takes while a hundred clients upload at once."""

from __future__ import annotations

import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from benchmarks.content import REPOSITORY
from benchmarks.load import transfers
from benchmarks.load.connection import Connection, with_digest
from benchmarks.load.disk import write_rate
from benchmarks.load.requests import PEAK
from benchmarks.outcome import GIB, MIB, Goal, Outcome, Row, figure, limit_goal
from benchmarks.processes import pss, running

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.bench import Bench
    from benchmarks.content import Blob
    from benchmarks.contestants.contestant import Contestant
    from benchmarks.processes import Server

_UPLOADS = 100
_SMALL_BYTES = 2 * MIB
_PROBE_BYTES = 100 * MIB
_SPARE_DISK_BYTES = 2 * GIB
_SAMPLE_SECONDS = 0.1
_WAIT_SECONDS = 300.0


def many_uploads(bench: Bench) -> Outcome:
    """Goals: 200 MB for all processes together, and no more for large blobs than for small ones."""
    large = _bytes_each(bench)
    rows = [
        _measure(bench, contestant, size) for contestant in bench.registries for size in (_SMALL_BYTES, large)
    ]
    cases = [_case(size) for size in (_SMALL_BYTES, large)]
    return Outcome(
        "Memory during many uploads",
        f"{_UPLOADS} clients each PUT a blob, as fast as it is taken; all stop in the middle until the last has come so"
        f" far. The highest sum of the processes' PSS, looked at there and every {_SAMPLE_SECONDS:g} s. MB of memory"
        f" are 2^20 bytes. The large blobs are of {bench.scale.many_blob_bytes // MIB} MiB, or as large as the disk, of"
        f" which {_SPARE_DISK_BYTES // GIB} GiB stay free, can take in half of the time for this.",
        rows,
        [*(goal for case in cases for goal in limit_goal(rows, case, PEAK, 200)), *_growth(rows, cases)],
    )


def _bytes_each(bench: Bench) -> int:
    """As many as the scale says, and the disk has room and time for."""
    blob = bench.source.blob(_PROBE_BYTES)
    with open(blob.path, "rb") as file:
        rate = write_rate(bench.folder, file.read(blob.shared), 2)
    room = shutil.disk_usage(bench.folder).free - _SPARE_DISK_BYTES
    timely = rate * bench.scale.limit / 2 / len(bench.registries)
    return min(bench.scale.many_blob_bytes, int(min(room, timely)) // _UPLOADS // MIB * MIB)


def _case(size: int) -> str:
    return f"{_UPLOADS} uploads of {size // MIB} MiB"


def _growth(rows: Sequence[Row], cases: Sequence[str]) -> list[Goal]:
    small, large = (figure(rows, case, "cargohold", PEAK) for case in cases)
    if small is None or large is None:
        return []
    return [Goal(f"{cases[1]}: {PEAK}, times that of the small ones", large / small, 1.25)]


def _measure(bench: Bench, contestant: Contestant, size: int) -> Row:
    blobs = bench.source.blobs(size, _UPLOADS)
    with running(contestant, bench.folder) as server:
        before, cpu, started = pss(server.pids()), server.cpu_seconds(), time.perf_counter()
        peak = _peak_during_uploads(server, blobs)
        seconds, total = time.perf_counter() - started, size * _UPLOADS
        figures = {
            transfers.RATE: total / seconds / 1e6,
            transfers.SERVER_CPU: (server.cpu_seconds() - cpu) / (total / GIB),
            "idle memory MB": before / MIB,
            PEAK: peak / MIB,
            "memory after MB": pss(server.pids()) / MIB,
        }
        return Row(_case(size), contestant.name, figures)


def _peak_during_uploads(server: Server, blobs: Sequence[Blob]) -> int:
    seen: list[int] = []

    def look() -> None:
        seen.append(pss(server.pids()))

    middle = threading.Barrier(len(blobs), look)

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
            look()
            pause.wait(_SAMPLE_SECONDS)
        for one in uploads:
            one.result()
    return max(seen)


def _upload_with_a_stop(port: int, blob: Blob, middle: threading.Barrier) -> None:
    with Connection(port) as connection, open(blob.path, "rb", buffering=0) as file:
        location = connection.start_upload(REPOSITORY)
        connection.begin("PUT", with_digest(location, blob.digest), blob.size)
        connection.send(file, 0, blob.shared // 2)
        middle.wait(_WAIT_SECONDS)
        connection.send(file, blob.shared // 2, blob.shared)
        connection.send_bytes(blob.tail)
        connection.finish(201)
