"""The load that zot's makers measure registries with, by their own program."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.contestants.contestant import program
from benchmarks.load import requests
from benchmarks.load.meter import Meter
from benchmarks.outcome import MIB, Goal, Outcome, Row, figure, ratio_goal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.bench import Bench
    from benchmarks.processes import Server

_CLIENTS = 10
_SECONDS = 120.0
_UNITS = {"h": 3.6e6, "m": 6e4, "s": 1e3, "ms": 1.0, "µs": 1e-3, "ns": 1e-6}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s|µs|ns)")
_LISTS = "Get Catalog"
_MIXED = "20% 1MB, 70% 10MB, 10% 100MB"


# Every test begins with a push.
_UNABLE = {
    "distribution": "to which `zb` cannot push: of the address that an upload is to go on at it keeps the path alone"
}


class _Test(NamedTuple):
    """One of its tests, by its own name, and how many requests it is to send."""

    name: str
    requests: int


_TESTS = (
    _Test(_LISTS, 100),
    _Test("Push Monolith 1MB", 200),
    _Test("Push Monolith 10MB", 50),
    _Test("Push Monolith 100MB", 10),
    _Test("Push Chunk Streamed 1MB", 200),
    _Test("Push Chunk Streamed 10MB", 50),
    _Test("Push Chunk Streamed 100MB", 10),
    _Test("Pull 1MB", 500),
    _Test("Pull 10MB", 200),
    _Test("Pull 100MB", 20),
    _Test(f"Pull Mixed {_MIXED}", 50),
    _Test(f"Push Monolith Mixed {_MIXED}", 50),
    _Test("Push Chunk Mixed 33% 1MB, 33% 10MB, 33% 100MB", 30),
    _Test("Pull 75% and Push 25% Mixed 1MB", 200),
    _Test("Pull 75% and Push 25% Mixed 10MB", 50),
    _Test("Pull 75% and Push 25% Mixed 100MB", 20),
)
_QUICK = (_Test(_LISTS, 10), _Test("Push Monolith 1MB", 20), _Test("Pull 1MB", 50))


def zb(bench: Bench) -> Outcome:
    """Goals: in no test slower than the registry whose makers' program it is, in no list later."""
    title, found = "zot's own benchmark", program("zb", "ZB_BINARY")
    if found is None:
        return Outcome(title, "`zb` is not installed: left out.")
    tests = _QUICK if bench.scale.rounds == 1 else _TESTS
    with bench.all_running([each for each in bench.registries if each.name not in _UNABLE]) as servers:
        rows = [_run(found, bench.folder, server, test) for test in tests for server in servers]
    return Outcome(
        title,
        f"`zb` with {_CLIENTS} clients, once a test, without its deletions at the end. A request is all that it does to"
        " push or pull an image of one layer; what it pushes of one size has the same layer each time. Its requests a"
        " second count the time in which it pushed what it then pulls or lists, its times do not. Before it lists, it"
        " pushes as many images of 1, 10 or 100 MB, by chance: how many of them are large decides how many requests a"
        " second it tells, so that of lists the goal is their time. It tells no p99.9."
        f" Left out: {'; '.join(f'{name}, {reason}' for name, reason in _UNABLE.items())}.",
        rows,
        [goal for test in tests for goal in _goals(rows, test.name)],
    )


def _goals(rows: Sequence[Row], case: str) -> list[Goal]:
    if case != _LISTS:
        return ratio_goal(rows, case, requests.RATE, "zot", 1)
    ours, theirs = (figure(rows, case, name, requests.P50) for name in ("cargohold", "zot"))
    return [Goal(f"{case}: {requests.P50}, times that of zot", ours / theirs, 1)] if ours and theirs else []


def _run(found: str, parent: str, server: Server, test: _Test) -> Row:
    """Raises RuntimeError where a request failed, and what subprocess raises where the program did."""
    command = [found, "-c", str(_CLIENTS), "-n", str(test.requests), "-d", os.path.join(parent, "zb")]
    command += ["--skip-cleanup", "-t", f"^{re.escape(test.name)}$", f"http://127.0.0.1:{server.port}"]
    client_cpu = requests.children_cpu()
    with Meter(server) as meter:
        ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS)
    client_cpu = requests.children_cpu() - client_cpu
    told = parse(ran.stdout + ran.stderr)
    if ran.returncode or told.pop("failed"):
        raise RuntimeError(f"zb failed with {server.contestant.name}: {(ran.stdout + ran.stderr)[-2000:]}")
    taken = {
        requests.SERVER_CPU: meter.cpu / test.requests * 1e6,
        requests.CLIENT_CPU: client_cpu / test.requests * 1e6,
        requests.PEAK: meter.memory / MIB,
    }
    return Row(test.name, server.contestant.name, {**told, **taken})


def parse(told: str) -> dict[str, float]:
    """The figures of one test out of what zb prints, and as `failed` the number of requests that did.

    Raises RuntimeError where they are not in it.
    """
    lines = dict(line.partition(":")[::2] for line in told.splitlines())
    try:
        return {
            requests.RATE: float(lines["Requests per second"]),
            requests.P50: milliseconds(lines["p50"]),
            requests.P99: milliseconds(lines["p99"]),
            "failed": float(lines["Failed requests"]),
        }
    except KeyError as missing:
        raise RuntimeError(f"zb does not say {missing}: {told[-2000:]}") from None


def milliseconds(duration: str) -> float:
    """Of a duration as Go writes it, such as `1m2.5s` or `425.97µs`."""
    return sum(float(number) * _UNITS[unit] for number, unit in _DURATION.findall(duration))
