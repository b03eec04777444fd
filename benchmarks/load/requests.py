"""Small requests, as many as a server can answer: the programs that send them, and what came of it."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.content import MANIFEST_TYPE
from benchmarks.load import client

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.processes import Server

RATE, P50, P99 = "requests/s", "p50 ms", "p99 ms"
SERVER_CPU = "server CPU-us/request"

WRK = os.environ.get("WRK_BINARY") or shutil.which("wrk")
# Two threads that share two cores with the server only get in each other's way.
_THREADS = 2 if len(os.sched_getaffinity(0)) > 2 else 1
_SUMMARY = os.path.join(os.path.dirname(__file__), "summary.lua")


class Requests(NamedTuple):
    """What came of it; `p50` and `p99` are the milliseconds from a request's sending to its answer's last byte."""

    number: int
    seconds: float
    p50: float
    p99: float
    server_cpu: float
    client_cpu: float

    def figures(self) -> dict[str, float]:
        """For a row of a table."""
        return {
            RATE: self.number / self.seconds,
            P50: self.p50,
            P99: self.p99,
            SERVER_CPU: self.server_cpu / self.number * 1e6,
            "client CPU-us/request": self.client_cpu / self.number * 1e6,
        }


def get(
    server: Server, path: str, clients: int, seconds: float, headers: Mapping[str, str] | None = None
) -> Requests:
    """The same GET from so many clients at once: by wrk where it is installed, else by our own client."""
    headers = headers or {}
    if WRK is None:
        asked = request("GET", path, headers=headers)
        return send(server, lambda _: asked, 200, clients, seconds)
    all_headers = {"Accept": MANIFEST_TYPE, **headers}
    lines = [word for name, value in all_headers.items() for word in ("-H", f"{name}: {value}")]
    url = f"http://127.0.0.1:{server.port}{path}"
    cpu, client_cpu = server.cpu_seconds(), _children_cpu()
    ran = subprocess.run(
        [WRK, f"-t{_THREADS}", f"-c{clients}", f"-d{seconds:.0f}s", "-s", _SUMMARY, *lines, url],
        capture_output=True,
        text=True,
        check=True,
        timeout=seconds + 30,
    )
    told = json.loads(ran.stdout.splitlines()[-1])
    if told.pop("errors"):
        raise RuntimeError(f"requests to {server.contestant.name} failed: {ran.stdout}")
    return Requests(**told, server_cpu=server.cpu_seconds() - cpu, client_cpu=_children_cpu() - client_cpu)


def send(
    server: Server, make: Callable[[int], bytes], expected: int, clients: int, seconds: float
) -> Requests:
    """Requests that `make` makes from their number, by our own client, each to be answered with `expected`."""
    cpu, client_cpu = server.cpu_seconds(), time.process_time()
    took = client.run(server.port, make, expected, clients, seconds)
    client_cpu, server_cpu = time.process_time() - client_cpu, server.cpu_seconds() - cpu
    return Requests(len(took), seconds, percentile(took, 50), percentile(took, 99), server_cpu, client_cpu)


def _children_cpu() -> float:
    """The processor time of the programs that have run and ended; servers that still run do not count."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def percentile(took: list[float], percent: int) -> float:
    """The milliseconds within which so many per cent of the times, given in seconds, lie."""
    return sorted(took)[len(took) * percent // 100] * 1e3


def request(method: str, path: str, body: bytes = b"", *, headers: Mapping[str, str] | None = None) -> bytes:
    """One request as it goes over the wire."""
    further = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    about_body = f"Content-Type: {MANIFEST_TYPE}\r\nContent-Length: {len(body)}\r\n" if body else ""
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {MANIFEST_TYPE}\r\n{about_body}{further}\r\n"
    )
    return head.encode() + body
