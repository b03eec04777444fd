"""Blobs of all sizes, in each way to upload them, beside what one core and the disk can do."""

from __future__ import annotations

import hashlib
import math
import time
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.content import REPOSITORY
from benchmarks.load import requests, transfers
from benchmarks.load.disk import new_files, write_rate
from benchmarks.outcome import GIB, MIB, Goal, Outcome, Row, figure, median_rows, ratio_goal
from benchmarks.processes import running
from benchmarks.workloads.clients import Clients
from benchmarks.workloads.sizes import rounds, sizes, written_clients, written_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.bench import Bench
    from benchmarks.content import Blob
    from benchmarks.outcome import Scale
    from benchmarks.processes import Server
    from benchmarks.workloads.wire import Wire

    Push = Callable[[Blob, Wire], int]

_ROUNDS = 2
_SHARE_OF_SECONDS = 0.33
_CASE_BYTES = 512 * MIB
_MOST_BLOBS = 4_000
_CHUNK_BYTES = 5 * MIB
_LARGE_BYTES = 100 * MIB
_SMALL_CLIENTS, _LARGE_CLIENTS, _HUGE_CLIENTS = (1, 16), (1, 4), (1,)
_HASHED, _WRITTEN = "SHA-256, 1 core", "write and fsync"
_HELD = "cargohold"


class _Case(NamedTuple):
    way: str
    push: Push
    size: int
    clients: int

    @property
    def name(self) -> str:
        return f"{self.way} {written_size(self.size)}, {written_clients(self.clients)}"

    @property
    def is_held_to_limits(self) -> bool:
        """Whether it shows what one client can have of the machine."""
        return self.clients == 1 and self.size >= _LARGE_BYTES

    @property
    def limit(self) -> str:
        """The case of what the disk could do when this one had just been measured."""
        return f"{_WRITTEN}, after {self.name}"

    @property
    def rate(self) -> str:
        """The figure that is compared."""
        return requests.RATE if self.size < MIB else transfers.RATE


def blob_uploads(bench: Bench) -> Outcome:
    """Goals: twice Distribution; of large blobs by one client, 0.8 of SHA-256 or of the disk, whichever is slower."""
    cases = list(_cases(bench.scale))
    rows: list[Row] = []
    with Clients() as clients:
        for _ in rounds(bench.scale, _ROUNDS):
            rows += _limits(bench)
            for contestant in bench.registries:
                # One after another, so that the disk holds the blobs of one alone.
                with running(contestant, bench.folder) as server:
                    for case in cases:
                        rows.append(_upload(bench, clients, server, case))
                        if case.is_held_to_limits:
                            # After each contestant's: what comes next must not find a disk that is more tired.
                            limit = _disk_limit(bench, case)
                            if contestant.name == _HELD:
                                rows.append(limit)
    medians = median_rows(rows)
    return Outcome(
        "Blob uploads",
        "Blobs that are all different, each client with a connection of its own. PUT is a POST and then a PUT with the"
        " whole blob; `streamed` is one PATCH of unknown length in between, in pieces of 32 KiB, as docker sends them;"
        f" `chunks` are PATCHes of {_CHUNK_BYTES // MIB} MiB. The limits are those of bytes hashed by one core, and"
        " written to new files and synced, which are removed when that is measured; many disks are faster for the"
        " first gigabytes, so that this is measured after each case that is held to it. cargohold and Distribution"
        " sync a blob before they answer, and cargohold its new name too; zot syncs nothing.",
        medians,
        [
            *(
                goal
                for case in cases
                for goal in ratio_goal(medians, case.name, case.rate, "distribution", 2)
            ),
            *(goal for case in cases for goal in _share_of_limit(medians, case)),
        ],
    )


def _cases(scale: Scale) -> Iterator[_Case]:
    for size in sizes(scale):
        ways: dict[str, Push] = {"PUT": _put, "streamed": _stream}
        if size >= _LARGE_BYTES:
            ways |= {"chunks": _chunk}
        counts = _SMALL_CLIENTS if size < _LARGE_BYTES else _LARGE_CLIENTS if size < GIB else _HUGE_CLIENTS
        for clients in counts if scale.rounds > 1 else counts[:1]:
            for way, push in ways.items():
                yield _Case(way, push, size, clients)


def _upload(bench: Bench, clients: Clients, server: Server, case: _Case) -> Row:
    each = min(_MOST_BLOBS, _CASE_BYTES // case.size) / case.clients
    blobs = bench.source.blobs(case.size, max(1, math.ceil(each)) * case.clients)
    jobs = [partial(case.push, blob) for blob in blobs]
    took = clients.run(server, case.clients, jobs, bench.scale.seconds * _SHARE_OF_SECONDS)
    figures = took.by_number() if case.size < MIB else took.by_size()
    return Row(case.name, server.contestant.name, figures)


def _put(blob: Blob, wire: Wire) -> int:
    wire.push(REPOSITORY, blob)
    return blob.size


def _stream(blob: Blob, wire: Wire) -> int:
    wire.push_streamed(REPOSITORY, blob)
    return blob.size


def _chunk(blob: Blob, wire: Wire) -> int:
    wire.push_in_chunks(REPOSITORY, blob, _CHUNK_BYTES)
    return blob.size


def _limits(bench: Bench) -> Iterator[Row]:
    blob = bench.source.blob(_LARGE_BYTES)
    with open(blob.path, "rb") as file:
        content = file.read(blob.shared)
    started = time.thread_time()  # of the core, not of the clock: what else runs does not count
    hashlib.sha256(content).digest()
    hashed = time.thread_time() - started
    yield Row(_HASHED, "limit", {transfers.RATE: len(content) / hashed / 1e6})
    for writers in _SMALL_CLIENTS:
        written = new_files(bench.folder, writers, bench.scale.seconds * _SHARE_OF_SECONDS)
        case = f"{_WRITTEN} a new small file, {written_clients(writers)}"
        yield Row(case, "limit", {requests.RATE: written.rate})


def _disk_limit(bench: Bench, case: _Case) -> Row:
    blob = bench.source.blob(_LARGE_BYTES)
    with open(blob.path, "rb") as file:
        content = file.read(blob.shared)
    rate = write_rate(bench.folder, content, _CASE_BYTES // len(content))
    return Row(case.limit, "limit", {transfers.RATE: rate / 1e6})


def _share_of_limit(rows: list[Row], case: _Case) -> list[Goal]:
    if not case.is_held_to_limits:
        return []
    ours = figure(rows, case.name, _HELD, transfers.RATE)
    limits = {
        limit: figure(rows, limit, "limit", transfers.RATE) or math.inf for limit in (_HASHED, case.limit)
    }
    slower = min(limits, key=limits.__getitem__)
    text = f"{case.name}: {transfers.RATE}, share of the slower limit ({slower})"
    return [] if ours is None else [Goal(text, ours / limits[slower], 0.8, at_least=True)]
