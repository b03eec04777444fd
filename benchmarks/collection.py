"""`python -m benchmarks.collection`: what collecting garbage from a large storage takes, and what pulls feel of it."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from benchmarks import machine, report
from benchmarks.content import REPOSITORY, TAG, Source, manifest
from benchmarks.contestants.cargohold import Cargohold
from benchmarks.contestants.distribution import Distribution
from benchmarks.load import requests
from benchmarks.outcome import MIB, Goal, Outcome, Row, median_rows
from benchmarks.processes import CLIENT_CORES, started
from benchmarks.workloads.large_tree import Tree, collection_command, measured

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.contestants.contestant import Contestant
    from benchmarks.processes import Server

_CLIENTS = 16
_BLOB_BYTES = 10_000
_SETTLE_SECONDS = 1.0
# Of a measurement: one collection may come to its end, and the next one begins with the first repository.
_TRIALS = 2
_END_SECONDS = 60.0
_ALONE, _BESIDE = "alone", "beside a collection"
_RATIO = "p99, times that alone"


def main() -> int:
    """Gives the exit code: 0 when all was measured, whether the goals were met or not."""
    asked = _arguments()
    contestants = [kind(program) for kind in (Cargohold, Distribution) if (program := kind.find())]
    ours = next((each for each in contestants if isinstance(each, Cargohold)), None)
    if ours is None:
        raise SystemExit("cargohold is not installed beside this interpreter")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    os.sched_setaffinity(0, CLIENT_CORES)
    versions = {contestant.name: contestant.version() for contestant in contestants}
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    outcomes: dict[str, Outcome] = {}
    with tempfile.TemporaryDirectory(prefix="cargohold-bench-", dir=asked.folder) as folder:
        about = machine.describe(folder) | {
            "blobs": f"{asked.blobs:,}",
            "repositories": f"{asked.repositories:,}",
        }
        try:
            for key, outcome in _outcomes(asked, contestants, ours, folder):
                outcomes[key] = outcome
                print("\n".join(report.section(outcome)), flush=True)
        finally:  # before the tree is removed, which can take as long as all the rest
            if outcomes:
                page = report.write(f"{stamp}-collection", about, versions, outcomes, asked.results)
                print(f"\nwritten: {page}", flush=True)
        ended = time.monotonic()
    print(f"the tree was removed in {time.monotonic() - ended:.0f} s")
    return 0


def _outcomes(
    asked: argparse.Namespace, contestants: Sequence[Contestant], ours: Cargohold, folder: str
) -> Iterator[tuple[str, Outcome]]:
    began = time.monotonic()
    tree = Tree(f"{folder}/tree", asked.blobs, asked.repositories)
    tree.write()
    print(f"the tree was made in {time.monotonic() - began:.0f} s", flush=True)
    yield "large-tree", _timed(lambda: measured(tree, contestants, folder))
    if asked.pairs:
        with tree.served_by(ours, folder) as server:
            pulls = _timed(lambda: _pulls(server, folder, asked.pairs, asked.seconds))
        yield "pulls", pulls


def _timed(measure: Callable[[], Outcome]) -> Outcome:
    began = time.monotonic()
    outcome = measure()
    return replace(outcome, about=f"{outcome.about} The whole took {time.monotonic() - began:.0f} s.")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.collection", description=__doc__)
    parser.add_argument("--blobs", type=int, default=100_000, help="layers in the tree, in images of ten")
    parser.add_argument("--repositories", type=int, default=100, help="which they are spread over")
    parser.add_argument(
        "--pairs", type=int, default=5, help="of measurements of pulls, alone and beside; 0: none"
    )
    parser.add_argument("--seconds", type=float, default=5.0, help="that each of them takes")
    parser.add_argument("--folder", help="where to store (default: where temporary files go)")
    parser.add_argument(
        "--results", default=report.RESULTS, help="where the report goes (default: %(default)s)"
    )
    return parser.parse_args()


@contextmanager
def _collecting(server: Server) -> Iterator[subprocess.Popen[bytes]]:
    """A collection by hand in the server's tree, ended on leaving."""
    process = started(collection_command(server.contestant, f"{server.folder}/data"), subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(_END_SECONDS)


def _pulls(server: Server, folder: str, pairs: int, seconds: float) -> Outcome:
    """Goal: p99 of pulls is at most 1.5 times that without a collection, in the median of the pairs."""
    source = Source(folder, MIB)
    blobs = source.blobs(_BLOB_BYTES, 2)
    server.contestant.publish(server, blobs, manifest(blobs[0], blobs[1:]))
    asked = [
        requests.request("GET", f"/v2/{REPOSITORY}/manifests/{TAG}"),
        requests.request("GET", f"/v2/{REPOSITORY}/blobs/{blobs[1].digest}"),
    ]

    def measure(case: str) -> Row:
        took = requests.send(server, lambda number: asked[number % 2], 200, _CLIENTS, seconds)
        return Row(case, server.contestant.name, took.figures())

    def measure_beside() -> Row:
        for _ in range(_TRIALS):
            with _collecting(server) as collector:
                time.sleep(_SETTLE_SECONDS)
                row = measure(_BESIDE)
                if collector.poll() is None:
                    return row
        raise RuntimeError("the collection ended before the measurement: more --blobs are needed")

    measure(_ALONE)
    rows, ratios = [], []
    for number in range(pairs):
        first = measure(_ALONE) if number % 2 else measure_beside()
        second = measure_beside() if number % 2 else measure(_ALONE)
        alone, beside = (first, second) if number % 2 else (second, first)
        rows += [alone, beside]
        ratios.append(beside.figures[requests.P99] / alone.figures[requests.P99])
    ratio = sorted(ratios)[len(ratios) // 2]
    return Outcome(
        "Pulls beside a collection",
        f"A manifest by its tag and a blob of {_BLOB_BYTES:,} bytes by turns, on {_CLIENTS} connections, for"
        f" {seconds:g} s at a time, {pairs} times alone and {pairs} times beside `cargohold gc` with all defaults,"
        " which goes on each time where it was, and begins again after its end. The ratio is the median of the pairs.",
        median_rows(rows),
        [Goal(_RATIO, ratio, 1.5)],
    )


if __name__ == "__main__":
    sys.exit(main())
