"""`python -m benchmarks.collection`: what a collection of garbage takes, and what those who pull meanwhile feel."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING

from benchmarks import machine, report
from benchmarks.content import MANIFEST_TYPE, REPOSITORY, TAG, Source, manifest
from benchmarks.contestants.cargohold import Cargohold
from benchmarks.load import requests
from benchmarks.outcome import MIB, Goal, Outcome, Row, median_rows
from benchmarks.processes import running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.processes import Server

_LAYERS = 10
_DELETED_EVERY = 10
_CLIENTS = 16
_BLOB_BYTES = 10_000
_GRACE_SECONDS = 2.0
_SETTLE_SECONDS = 1.0
_END_SECONDS = 60.0
_ALONE, _BESIDE = "alone", "beside a collection"
_MEMORY, _RATIO = "highest memory MB", "p99, times that alone"


def main() -> int:
    """Gives the exit code: 0 when all was measured, whether the goals were met or not."""
    asked = _arguments()
    program = Cargohold.find()
    if program is None:
        raise SystemExit("cargohold is not installed beside this interpreter")
    contestant = Cargohold(program)
    with tempfile.TemporaryDirectory(prefix="cargohold-bench-", dir=asked.folder) as folder:
        about = machine.describe(folder) | {
            "blobs": f"{asked.blobs:,}",
            "repositories": f"{asked.repositories:,}",
        }
        with running(contestant, folder) as server:
            began = time.monotonic()
            _make_tree(f"{server.folder}/data/docker/registry/v2", asked.blobs, asked.repositories)
            print(f"the tree was made in {time.monotonic() - began:.0f} s", flush=True)
            outcomes = {}
            if asked.pairs:
                outcomes["pulls"] = _pulls(server, folder, asked.pairs, asked.seconds)
                print("\n".join(report.section(outcomes["pulls"])), flush=True)
            outcomes["collection"] = _collection(server, asked.blobs)
            print("\n".join(report.section(outcomes["collection"])), flush=True)
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    versions = {contestant.name: contestant.version()}
    print(f"\nwritten: {report.write(f'{stamp}-collection', about, versions, outcomes)}")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.collection", description=__doc__)
    parser.add_argument("--blobs", type=int, default=100_000, help="layers in the tree, in images of ten")
    parser.add_argument("--repositories", type=int, default=100, help="which they are spread over")
    parser.add_argument(
        "--pairs", type=int, default=5, help="of measurements of pulls, alone and beside; 0: none"
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="that each of them takes")
    parser.add_argument("--folder", help="where to store (default: where temporary files go)")
    return parser.parse_args()


def _make_tree(registry: str, blobs: int, repositories: int) -> None:
    """Images of layers that hold nothing, without a server: of one in ten the manifest was deleted."""
    for number in range(0, blobs, _LAYERS):
        folder = f"{registry}/repositories/filled/r{number // _LAYERS % repositories}"
        layers = [sha256(b"%d" % each).hexdigest() for each in range(number, number + _LAYERS)]
        for layer in layers:
            _write(f"{registry}/blobs/sha256/{layer[:2]}/{layer}/data", b"")
            _write(f"{folder}/_layers/sha256/{layer}/link", f"sha256:{layer}".encode())
        if number // _LAYERS % _DELETED_EVERY:
            listed = [{"mediaType": "text/plain", "digest": f"sha256:{each}", "size": 0} for each in layers]
            content = json.dumps(
                {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": listed[0], "layers": listed[1:]}
            ).encode()
            digest = sha256(content).hexdigest()
            link = f"sha256:{digest}".encode()
            _write(f"{registry}/blobs/sha256/{digest[:2]}/{digest}/data", content)
            _write(f"{folder}/_manifests/revisions/sha256/{digest}/link", link)
            _write(f"{folder}/_manifests/tags/v{number}/index/sha256/{digest}/link", link)
            _write(f"{folder}/_manifests/tags/v{number}/current/link", link)


def _write(path: str, content: bytes) -> None:
    try:
        os.makedirs(os.path.dirname(path))
    except FileExistsError:
        return
    with open(path, "xb", buffering=0) as file:
        file.write(content)


@contextmanager
def _collecting(server: Server, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A collection by hand in the server's tree, of whatever nobody has asked for in a second; ended on leaving."""
    process = subprocess.Popen(
        [
            server.contestant.program,
            "gc",
            "--json",
            "--no-wait",
            "--storage-path",
            f"{server.folder}/data",
            "--set",
            f"gc.grace={_GRACE_SECONDS}s",
            *words,
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            process.wait(_END_SECONDS)
        assert process.stdout is not None
        process.stdout.close()


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
        with _collecting(server) as collector:
            time.sleep(_SETTLE_SECONDS)
            row = measure(_BESIDE)
            if collector.poll() is not None:
                raise RuntimeError("the collection ended before the measurement: more --blobs are needed")
            return row

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
        " which goes on each time where it was. The ratio is the median of the pairs.",
        median_rows(rows),
        [Goal(_RATIO, ratio, 1.5)],
    )


def _collection(server: Server, blobs: int) -> Outcome:
    """Goal: 300 MB, however many blobs there are."""
    # What was asked for or made within the grace time, and a quarter of it more, would stay.
    time.sleep(2 * _GRACE_SECONDS)
    began = time.monotonic()
    with _collecting(server, "--full-speed", "--set", "gc.untagged=true") as process:
        assert process.stdout is not None
        told = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"the collection ended with {process.returncode}: {told!r}")
    found = json.loads(told)
    figures = {
        "seconds": time.monotonic() - began,
        "CPU s": usage.ru_utime + usage.ru_stime,
        _MEMORY: usage.ru_maxrss / 1024,
        **{name: found[name] for name in ("repositories", "links", "blobs")},
    }
    return Outcome(
        "A collection",
        f"`cargohold gc --full-speed`, with `gc.untagged` on, in a tree of {blobs:,} layers in images of {_LAYERS}, of"
        f" which one in {_DELETED_EVERY} was deleted; what the collections beside pulls have left of it.",
        [Row("all of the tree", server.contestant.name, figures)],
        [Goal(_MEMORY, figures[_MEMORY], 300)],
    )


if __name__ == "__main__":
    sys.exit(main())
