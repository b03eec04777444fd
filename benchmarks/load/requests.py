"""Small requests, as many as a server can answer: the programs that send them, and what came of it."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import tempfile
import time
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.content import MANIFEST_TYPE
from benchmarks.load import client
from benchmarks.load.meter import Meter
from benchmarks.outcome import MIB
from benchmarks.processes import CLIENT_CORES, SERVER_CORES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.processes import Server

RATE, P50, P99, P999 = "requests/s", "p50 ms", "p99 ms", "p99.9 ms"
SERVER_CPU, CLIENT_CPU = "server CPU-us/request", "client CPU-us/request"
PEAK = "peak memory MB"

WRK = os.environ.get("WRK_BINARY") or shutil.which("wrk")
# Two threads that share two cores with the server only get in each other's way.
_THREADS = 1 if CLIENT_CORES & SERVER_CORES else min(2, len(CLIENT_CORES))
_SUMMARY = os.path.join(os.path.dirname(__file__), "summary.lua")
_GRACE_SECONDS = 30


class Requests(NamedTuple):
    """What came of it; `p50` and the others are the milliseconds from a request's sending to its answer's last byte.

    `server_cpu` and `client_cpu` are seconds, `memory` the most bytes that the server was seen to have.
    """

    number: int
    seconds: float
    p50: float
    p99: float
    p999: float
    server_cpu: float
    client_cpu: float
    memory: int

    def figures(self) -> dict[str, float]:
        """For a row of a table."""
        return {
            RATE: self.number / self.seconds,
            P50: self.p50,
            P99: self.p99,
            P999: self.p999,
            SERVER_CPU: self.server_cpu / self.number * 1e6,
            CLIENT_CPU: self.client_cpu / self.number * 1e6,
            PEAK: self.memory / MIB,
        }


def get(  # noqa: PLR0913 - each is one thing that cases differ in
    server: Server,
    path: str | Sequence[str],
    clients: int,
    seconds: float,
    headers: Mapping[str, str] | None = None,
    *,
    method: str = "GET",
) -> Requests:
    """The same request from so many clients at once, or several paths in turn, each to be answered with 200.

    GETs are sent by wrk where it is installed; without it, and for HEAD, whose answers wrk does not understand, by
    our own client. The headers are in addition to an Accept of image manifests, or replace it.
    """
    paths = [path] if isinstance(path, str) else path
    headers = {"Accept": MANIFEST_TYPE, **(headers or {})}
    if WRK is None or method != "GET":
        asked = [request(method, each, headers=headers) for each in paths]
        return send(server, lambda number: asked[number % len(asked)], 200, clients, seconds)
    with tempfile.NamedTemporaryFile("w", prefix="paths-", encoding="ascii") as file:
        file.write("\n".join(paths))
        file.flush()
        further = ["--", file.name] if len(paths) > 1 else []
        return _wrk(WRK, server, paths[0], clients, seconds, headers, further)


def _wrk(  # noqa: PLR0913, PLR0917 - the words of its command line
    program: str,
    server: Server,
    path: str,
    clients: int,
    seconds: float,
    headers: Mapping[str, str],
    further: list[str],
) -> Requests:
    command = [
        program,
        f"-t{min(_THREADS, clients)}",
        f"-c{clients}",
        f"-d{max(1, round(seconds))}s",
        "-s",
        _SUMMARY,
    ]
    command += ["--timeout", f"{_GRACE_SECONDS}s"]
    command += [word for name, value in headers.items() for word in ("-H", f"{name}: {value}")]
    command += [f"http://127.0.0.1:{server.port}{path}", *further]
    client_cpu = children_cpu()
    with Meter(server) as meter:
        ran = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=seconds + _GRACE_SECONDS
        )
    told = json.loads(ran.stdout.splitlines()[-1])
    if told.pop("errors"):
        raise RuntimeError(f"requests to {server.contestant.name} failed: {ran.stdout}")
    return Requests(**told, server_cpu=meter.cpu, client_cpu=children_cpu() - client_cpu, memory=meter.memory)


def send(  # noqa: PLR0913, PLR0917 - each is one thing that cases differ in
    server: Server,
    make: Callable[[int], bytes],
    expected: int,
    clients: int,
    seconds: float,
    rate: float | None = None,
) -> Requests:
    """Requests that `make` makes from their number, by our own client, each to be answered with `expected`.

    As fast as they are answered, or so many a second. Answers that come when the time is over count, and so does the
    time until the last of them: a server that is slow gets no more for it.
    """
    with Meter(server) as meter:
        client_cpu, began = time.process_time(), time.perf_counter()
        took = client.run(server.port, make, expected, clients, seconds, rate)
        client_cpu, seconds = time.process_time() - client_cpu, time.perf_counter() - began
    p50, p99, p999 = (percentile(took, percent) for percent in (50, 99, 99.9))
    return Requests(len(took), seconds, p50, p99, p999, meter.cpu, client_cpu, meter.memory)


def children_cpu() -> float:
    """The processor time of the programs that have run and ended; servers that still run do not count."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def percentile(took: Sequence[float], percent: float) -> float:
    """The milliseconds within which so many per cent of the times, given in seconds, lie."""
    return sorted(took)[int(len(took) * percent / 100)] * 1e3


def request(method: str, path: str, body: bytes = b"", *, headers: Mapping[str, str] | None = None) -> bytes:
    """One request as it goes over the wire; with an Accept of image manifests, and such a body's type, unless told."""
    all_headers = {"Host": "localhost", "Accept": MANIFEST_TYPE}
    if body:
        all_headers |= {"Content-Type": MANIFEST_TYPE, "Content-Length": str(len(body))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in {**all_headers, **(headers or {})}.items())
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + body
