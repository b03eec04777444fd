"""Clients in threads: for answers that are large or take long, and where what is asked for comes to an end.

A request costs them some 100 us of processor time, and a mebibyte of an answer a millisecond.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import TYPE_CHECKING

from benchmarks.load.connection import Connection
from benchmarks.load.meter import Meter
from benchmarks.load.requests import Requests, percentile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.processes import Server

    Job = Callable[[Connection], object]


def ask(server: Server, clients: int, jobs: Iterator[Job], seconds: float) -> Requests:
    """Do the jobs, each one request, until there are no more or the time is over; no answer is broken off.

    `jobs` must be an iterator that threads may share, such as those of lists and of itertools.
    """
    with ThreadPoolExecutor(clients) as pool, Meter(server) as meter:
        cpu, started = time.process_time(), time.perf_counter()
        each = [pool.submit(_work, server.port, jobs, started + seconds) for _ in range(clients)]
        took = sorted(chain.from_iterable(one.result() for one in each))
        cpu, elapsed = time.process_time() - cpu, time.perf_counter() - started
    p50, p99, p999 = (percentile(took, percent) for percent in (50, 99, 99.9))
    return Requests(len(took), elapsed, p50, p99, p999, meter.cpu, cpu, meter.memory)


def _work(port: int, jobs: Iterator[Job], until: float) -> list[float]:
    took: list[float] = []
    with Connection(port) as connection:
        while (started := time.perf_counter()) < until and (job := next(jobs, None)) is not None:
            job(connection)
            took.append(time.perf_counter() - started)
    return took
