"""Whole images, pulled and pushed by the clients that people use."""

from __future__ import annotations

import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import count
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from benchmarks.load import transfers
from benchmarks.load.meter import Meter
from benchmarks.load.requests import children_cpu
from benchmarks.outcome import MIB, Outcome, Row, ratio_goal
from benchmarks.processes import running
from benchmarks.workloads.image_clients import CLIENTS
from benchmarks.workloads.layout import make_layout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.bench import Bench
    from benchmarks.processes import Server
    from benchmarks.workloads.image_clients import ImageClient
    from benchmarks.workloads.layout import Layout

_MEMORY = "/dev/shm"
_PULLS = 3
# What a client takes at most, besides the image.
_CLIENT_BYTES = 128 * MIB
_RATE, _STORED = "images/s", "stored MB"


def images(bench: Bench) -> Outcome:
    """Goal: as fast as Distribution; what takes the time is mostly the client."""
    rows = []
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory(dir=bench.folder))
        layout = make_layout(f"{folder}/layout", bench.scale.image_bytes)
        users = _users(bench, layout)
        found = [
            stack.enter_context(client(layout, stack.enter_context(_client_folder(bench, layout, users))))
            for client in CLIENTS.values()
        ]
        numbers = count()
        for client in filter(None, found):
            for contestant in bench.registries:
                with running(contestant, bench.folder) as server:
                    rows += list(_rows(server, client, layout, users, numbers))
    missing = [name for name, client in zip(CLIENTS, found, strict=True) if client is None]
    return Outcome(
        "Whole images",
        f"An image of ten layers, {layout.size / MIB:.0f} MiB in all, to and from an empty registry: by one client,"
        f" and by {users} at once, each of which begins with nothing. Those who push at once push to repositories of"
        f" their own what another repository has already; `{_STORED}` is what the registry's folder takes afterwards."
        " zot says of what any repository has that it is there, and is sent nothing then."
        " MB/s are of images, whether their bytes were sent or not. skopeo pulls into a folder, containerd into its"
        " store, without unpacking, both in memory where there is enough. Of containerd's processor time that of its"
        " daemon is not counted."
        + "".join(f" {name} is not installed, or needs root: left out." for name in missing),
        rows,
        [
            goal
            for case in dict.fromkeys(row.case for row in rows)
            for goal in ratio_goal(rows, case, _RATE, "distribution", 1)
        ],
    )


def _users(bench: Bench, layout: Layout) -> int:
    """As many as the scale says and the memory bears."""
    with open("/proc/meminfo", encoding="ascii") as file:
        available = next(int(line.split()[1]) << 10 for line in file if line.startswith("MemAvailable:"))
    return max(1, min(bench.scale.pullers, available // (_CLIENT_BYTES + layout.size)))


def _client_folder(bench: Bench, layout: Layout, users: int) -> TemporaryDirectory[str]:
    """Where a client keeps what it pulls: in memory, where that is large enough, since its disk is not the server's."""
    needed = 2 * layout.size * users
    is_enough = os.path.isdir(_MEMORY) and shutil.disk_usage(_MEMORY).free > needed
    return TemporaryDirectory(prefix="cargohold-bench-", dir=_MEMORY if is_enough else bench.folder)


def _rows(
    server: Server, client: ImageClient, layout: Layout, users: int, numbers: Iterator[int]
) -> Iterator[Row]:
    place = f"127.0.0.1:{server.port}/bench"
    first = f"{place}/first:latest"

    def push(user: int) -> None:
        client.push(f"{place}/by-{user}:latest", user)

    def pull(user: int) -> None:
        client.pull(first, user)

    def measure(case: str, work: Callable[[int], None], jobs: int, at_once: int) -> Row:
        figures = _measured(server, layout, work, [next(numbers) for _ in range(jobs)], at_once)
        return Row(f"{client.name} {case}", server.contestant.name, figures)

    yield measure("push, 1 client", lambda user: client.push(first, user), 1, 1)
    yield measure("pull, 1 client", pull, _PULLS, 1)
    row = measure(f"push, {users} at once", push, users, users)
    yield Row(row.case, row.contestant, {**row.figures, _STORED: _stored_bytes(server.folder) / MIB})
    yield measure(f"pull, {users} at once", pull, users, users)


def _measured(
    server: Server, layout: Layout, work: Callable[[int], None], users: Sequence[int], at_once: int
) -> dict[str, float]:
    def timed(user: int) -> float:
        started = time.perf_counter()
        work(user)
        return time.perf_counter() - started

    with ThreadPoolExecutor(at_once) as pool, Meter(server) as meter:
        started, cpu = time.perf_counter(), children_cpu()
        took = list(pool.map(timed, users))
        seconds, client_cpu = time.perf_counter() - started, children_cpu() - cpu
    size = layout.size * len(users)
    moved = transfers.Transfers(size, seconds, took, meter.cpu, client_cpu, meter.memory)
    return {_RATE: len(users) / seconds, **moved.figures()}


def _stored_bytes(folder: str) -> int:
    """What the files below take on the disk; one of several names counts once."""
    found = [os.lstat(f"{place}/{name}") for place, _, names in os.walk(folder) for name in names]
    return sum({each.st_ino: each.st_blocks * 512 for each in found}.values())
