"""Many transfers of blobs at once: a thread a client, each in a call of the kernel's nearly all of its time."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.load.connection import Connection
from benchmarks.outcome import GIB

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.processes import Server


class Transfers(NamedTuple):
    """What came of it."""

    bytes: int
    seconds: float
    server_cpu: float
    client_cpu: float

    def figures(self) -> dict[str, float]:
        """For a row of a table."""
        gibibytes = self.bytes / GIB
        return {
            "MB/s": self.bytes / self.seconds / 1e6,
            "server CPU-s/GiB": self.server_cpu / gibibytes,
            "client CPU-s/GiB": self.client_cpu / gibibytes,
        }


def transfer(server: Server, clients: int, jobs: Sequence[Callable[[Connection], int]]) -> Transfers:
    """Do the jobs, each of which returns its number of bytes, on as many connections as there are clients."""

    def work(mine: Sequence[Callable[[Connection], int]]) -> int:
        with Connection(server.port) as connection:
            return sum(job(connection) for job in mine)

    with ThreadPoolExecutor(clients) as pool:
        cpu, own_cpu, started = server.cpu_seconds(), time.process_time(), time.perf_counter()
        size = sum(pool.map(work, [jobs[client::clients] for client in range(clients)]))
        seconds = time.perf_counter() - started
        return Transfers(size, seconds, server.cpu_seconds() - cpu, time.process_time() - own_cpu)
