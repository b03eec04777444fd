"""The memory that a registry takes while a hundred clients upload at once."""

from __future__ import annotations

import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.content import REPOSITORY
from benchmarks.load import transfers
from benchmarks.load.connection import Connection, with_digest
from benchmarks.load.disk import write_rate
from benchmarks.load.requests import PEAK
from benchmarks.outcome import GIB, MB, MIB, Goal, Outcome, Row, figure, limit_goal
from benchmarks.processes import pss, running

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.bench import Bench
    from benchmarks.content import Blob
    from benchmarks.contestants.contestant import Contestant
    from benchmarks.processes import Server

_UPLOADS = 100
_SMALL_BYTES = 2 * MB
_PROBE_BYTES = 100 * MIB
_SPARE_DISK_BYTES = 2 * GIB
_SAMPLE_SECONDS = 0.1
_WAIT_SECONDS = 300.0


class _Size(NamedTuple):
    """That of the large blobs, and why it is not larger."""

    bytes: int
    reasons: list[str]


def many_uploads(bench: Bench) -> Outcome:
    """Goals: 200 MB for all processes together, and no more for large blobs than for small ones."""
    large = _large(bench)
    sizes = (_SMALL_BYTES, large.bytes)
    rows = [_measure(bench, contestant, size) for contestant in bench.registries for size in sizes]
    cases = [_case(size) for size in sizes]
    return Outcome(
        "Memory during many uploads",
        f"{_UPLOADS} clients each PUT a blob, as fast as it is taken; all stop in the middle until the last has come so"
        f" far, so that the time of one is nearly that of all. The highest sum of the processes' PSS, looked at there"
        f" and every {_SAMPLE_SECONDS:g} s. MB of memory are 2^20 bytes, those of blobs a million."
        + "".join(f" {reason}" for reason in large.reasons),
        rows,
        [*(goal for case in cases for goal in limit_goal(rows, case, PEAK, 200)), *_growth(rows, cases)],
    )


def _large(bench: Bench) -> _Size:
    """The first of the scale's sizes that the disk has room and time for; of the last, as much as it has."""
    blob = bench.source.blob(_PROBE_BYTES)
    with open(blob.path, "rb") as file:
        rate = write_rate(bench.folder, file.read(blob.shared), 2)
    room = max(0, shutil.disk_usage(bench.folder).free - _SPARE_DISK_BYTES)
    reasons: list[str] = []
    for size in bench.scale.many_blob_bytes:
        total = size * _UPLOADS
        seconds = total / rate * len(bench.registries)
        if total <= room and seconds <= bench.scale.limit:
            return _Size(size, reasons)
        reasons.append(
            f"Not tried: {_UPLOADS} blobs of {size // MB} MB, which need {total / GIB:.0f} GiB of a disk that has"
            f" {room / GIB:.0f} to spare, and {seconds:.0f} s of the {bench.scale.limit:g} that there are for this."
        )
    timely = int(rate * bench.scale.limit / len(bench.registries))
    return _Size(min(room, timely) // _UPLOADS // MB * MB, reasons)


def _case(size: int) -> str:
    return f"{_UPLOADS} uploads of {size // MB} MB"


def _growth(rows: Sequence[Row], cases: Sequence[str]) -> list[Goal]:
    small, large = (figure(rows, case, "cargohold", PEAK) for case in cases)
    if small is None or large is None:
        return []
    return [Goal(f"{cases[1]}: {PEAK}, times that of the small ones", large / small, 1.25)]


def _measure(bench: Bench, contestant: Contestant, size: int) -> Row:
    blobs = bench.source.blobs(size, _UPLOADS)
    with running(contestant, bench.folder) as server:
        before, cpu, client_cpu = pss(server.pids()), server.cpu_seconds(), time.process_time()
        started = time.perf_counter()
        took, peak = _uploaded(server, blobs)
        seconds = time.perf_counter() - started
        cpu, client_cpu = server.cpu_seconds() - cpu, time.process_time() - client_cpu
        moved = transfers.Transfers(size * _UPLOADS, seconds, took, cpu, client_cpu, peak)
        memory = {"idle memory MB": before / MIB, "memory after MB": pss(server.pids()) / MIB}
        return Row(_case(size), contestant.name, {**moved.figures(), **memory})


def _uploaded(server: Server, blobs: Sequence[Blob]) -> tuple[list[float], int]:
    """The seconds that each upload took, and the most memory of the server meanwhile."""
    seen: list[int] = []

    def look() -> None:
        seen.append(pss(server.pids()))

    middle = threading.Barrier(len(blobs), look)

    def upload(blob: Blob) -> float:
        started = time.perf_counter()
        try:
            _upload_with_a_stop(server.port, blob, middle)
        except BaseException:
            middle.abort()  # or the others would wait for this one
            raise
        return time.perf_counter() - started

    with ThreadPoolExecutor(len(blobs)) as pool:
        uploads = [pool.submit(upload, blob) for blob in blobs]
        pause = threading.Event()
        while not all(one.done() for one in uploads):
            look()
            pause.wait(_SAMPLE_SECONDS)
        return [one.result() for one in uploads], max(seen)


def _upload_with_a_stop(port: int, blob: Blob, middle: threading.Barrier) -> None:
    with Connection(port) as connection, open(blob.path, "rb", buffering=0) as file:
        location = connection.start_upload(REPOSITORY)
        connection.begin("PUT", with_digest(location, blob.digest), blob.size)
        connection.send(file, 0, blob.shared // 2)
        middle.wait(_WAIT_SECONDS)
        connection.send(file, blob.shared // 2, blob.shared)
        connection.send_bytes(blob.tail)
        connection.finish(201)
