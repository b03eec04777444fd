"""Many transfers of blobs at once: a thread a client, each in a call of the kernel's nearly all of its time."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.load.connection import Connection
from benchmarks.load.meter import Meter
from benchmarks.load.requests import P50, P99, P999, PEAK, percentile
from benchmarks.outcome import GIB, MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.processes import Server

RATE = "MB/s"
SERVER_CPU = "server CPU-s/GiB"


class Transfers(NamedTuple):
    """What came of it: `took` is the seconds of each transfer, `memory` the most bytes the server was seen to have."""

    bytes: int
    seconds: float
    took: Sequence[float]
    server_cpu: float
    client_cpu: float
    memory: int

    def figures(self) -> dict[str, float]:
        """For a row of a table."""
        gibibytes = self.bytes / GIB
        return {
            RATE: self.bytes / self.seconds / 1e6,
            P50: percentile(self.took, 50),
            P99: percentile(self.took, 99),
            P999: percentile(self.took, 99.9),
            SERVER_CPU: self.server_cpu / gibibytes,
            "client CPU-s/GiB": self.client_cpu / gibibytes,
            PEAK: self.memory / MIB,
        }


def transfer(server: Server, clients: int, jobs: Sequence[Callable[[Connection], int]]) -> Transfers:
    """Do the jobs, each of which returns its number of bytes, on as many connections as there are clients."""

    def work(mine: Sequence[Callable[[Connection], int]]) -> list[tuple[int, float]]:
        with Connection(server.port) as connection:
            return [_timed(job, connection) for job in mine]

    with ThreadPoolExecutor(clients) as pool, Meter(server) as meter:
        own_cpu, started = time.process_time(), time.perf_counter()
        lists = list(pool.map(work, [jobs[client::clients] for client in range(clients)]))
        seconds, own_cpu = time.perf_counter() - started, time.process_time() - own_cpu
    done = [one for each in lists for one in each]
    return Transfers(
        sum(size for size, _ in done),
        seconds,
        [took for _, took in done],
        meter.cpu,
        own_cpu,
        meter.memory,
    )


def _timed(job: Callable[[Connection], int], connection: Connection) -> tuple[int, float]:
    started = time.perf_counter()
    return job(connection), time.perf_counter() - started
