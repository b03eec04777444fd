"""Many clients at once, spread over processes: one interpreter would be the limit of a fast server."""

from __future__ import annotations

import os
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from itertools import cycle
from multiprocessing import get_context
from typing import TYPE_CHECKING, NamedTuple, Self

from benchmarks.load.meter import Meter
from benchmarks.load.requests import Requests, percentile
from benchmarks.load.transfers import Transfers
from benchmarks.workloads.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.processes import Server

    Job = Callable[[Wire], int]

# By then every process has its connections and waits.
_START_SECONDS = 0.1


class _Share(NamedTuple):
    """What the clients of one process did, and when, on the clock that all processes share, the last one ended."""

    bytes: int
    took: list[float]
    ended: float
    cpu: float


class Load(NamedTuple):
    """What came of it: `took` is the seconds of each job, `memory` the most bytes that the server was seen to have."""

    bytes: int
    seconds: float
    took: list[float]
    server_cpu: float
    client_cpu: float
    memory: int

    def by_size(self) -> dict[str, float]:
        """For a row about large transfers."""
        return Transfers(*self).figures()

    def by_number(self) -> dict[str, float]:
        """For a row about small ones."""
        p50, p99, p999 = (percentile(self.took, percent) for percent in (50, 99, 99.9))
        number, work = len(self.took), (self.server_cpu, self.client_cpu, self.memory)
        return Requests(number, self.seconds, p50, p99, p999, *work).figures()


class Clients:
    """Processes that stay from one measurement to the next: as many as there are cores."""

    def __enter__(self) -> Self:
        # Forked by a server that has no threads, as this process may have some.
        context = get_context("forkserver")
        with ExitStack() as stack:
            self._processes = [
                stack.enter_context(ProcessPoolExecutor(1, mp_context=context))
                for _ in os.sched_getaffinity(0)
            ]
            for ready in [process.submit(os.getpid) for process in self._processes]:
                ready.result()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(
        self, server: Server, clients: int, jobs: Sequence[Job], seconds: float, *, is_endless: bool = False
    ) -> Load:
        """Let the clients share the jobs, each of which returns its number of bytes, and begin none after `seconds`.

        Each client does one at least, and where it `is_endless` all of its own over and over.
        """
        shares = [jobs[client::clients] for client in range(clients)]
        with Meter(server) as meter:
            began = time.monotonic() + _START_SECONDS
            ways = [
                process.submit(_work, server.port, own, began, seconds, is_endless=is_endless)
                for first, process in enumerate(self._processes)
                if (own := shares[first :: len(self._processes)])
            ]
            done = [way.result() for way in ways]
        return Load(
            sum(share.bytes for share in done),
            max(share.ended for share in done) - began,
            [each for share in done for each in share.took],
            meter.cpu,
            sum(share.cpu for share in done),
            meter.memory,
        )


def _work(
    port: int, shares: Sequence[Sequence[Job]], began: float, seconds: float, *, is_endless: bool
) -> _Share:
    took: list[float] = []
    cpu = time.process_time()

    def client(jobs: Sequence[Job]) -> int:
        done = 0
        with Wire(port) as wire:
            time.sleep(max(0.0, began - time.monotonic()))
            now = time.monotonic()
            for job in cycle(jobs) if is_endless else jobs:
                done += job(wire)
                now, before = time.monotonic(), now
                took.append(now - before)
                if now >= began + seconds:
                    break
        return done

    with ThreadPoolExecutor(len(shares)) as pool:
        size = sum(pool.map(client, shares))
        return _Share(size, took, time.monotonic(), time.process_time() - cpu)
