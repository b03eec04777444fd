"""`python -m benchmarks`: measure cargohold beside its peers, on this machine, in one run."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from benchmarks import machine, report
from benchmarks.bench import Bench
from benchmarks.content import Source
from benchmarks.contestants.cargohold import Cargohold
from benchmarks.contestants.distribution import Distribution
from benchmarks.contestants.nginx import Nginx
from benchmarks.contestants.zot import Zot
from benchmarks.load.disk import keep_apart
from benchmarks.outcome import FULL, QUICK, Outcome
from benchmarks.processes import CLIENT_CORES
from benchmarks.workloads import WORKLOADS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType
    from typing import NoReturn

    from benchmarks.contestants.contestant import Contestant

CONTESTANTS: tuple[type[Contestant], ...] = (Cargohold, Distribution, Zot, Nginx)
_INTERRUPTED = threading.Event()
# What tells most in a minute.
QUICK_WORKLOADS = ("manifest-reads", "manifest-writes", "blob-downloads", "blob-uploads")


def main() -> int:
    """Gives the exit code: 0 when all was measured, whether the goals were met or not; 1 when a workload failed."""
    asked = _arguments()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    os.sched_setaffinity(0, CLIENT_CORES)
    found = {kind: kind.find() for kind in CONTESTANTS}
    present = [kind(program) for kind, program in found.items() if program]
    versions = {kind.name: "not installed: left out" for kind in CONTESTANTS}
    versions |= {contestant.name: contestant.version() for contestant in present}
    for name, version in versions.items():
        print(f"{name}: {version}", flush=True)
    scale = QUICK if asked.quick else FULL
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    outcomes: dict[str, Outcome] = {}
    failed = []
    with tempfile.TemporaryDirectory(prefix="cargohold-bench-", dir=asked.folder) as folder:
        about = machine.describe(folder) | {"scale": scale.name}
        keep_apart(folder)
        bench = Bench(present, scale, folder, Source(folder, scale.largest_blob_bytes))
        try:
            for name in asked.workloads or (QUICK_WORKLOADS if asked.quick else WORKLOADS):
                outcomes[name], well = _measure(name, bench)
                print("\n".join(report.section(outcomes[name])), flush=True)
                failed += [] if well else [name]
        finally:  # what was measured before an interruption is kept
            if outcomes:
                page = report.write(f"{stamp}-{scale.name}", about, versions, outcomes, asked.results)
                print(f"\nwritten: {page}", flush=True)
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


def _measure(name: str, bench: Bench) -> tuple[Outcome, bool]:
    """What came of a workload, and whether it came to its end: one that fails must not cost what others found.

    Each has a folder of its own, so that none finds what another has left. That is removed at the end of all.
    """
    began = time.monotonic()
    try:
        with _limited(2 * bench.scale.limit):
            folder = tempfile.mkdtemp(dir=bench.folder)
            keep_apart(folder)
            outcome = WORKLOADS[name](replace(bench, folder=folder))
    except Exception as error:
        if _INTERRUPTED.is_set():  # what its clients, interrupted too, made of it
            raise KeyboardInterrupt from error
        traceback.print_exc()
        took = time.monotonic() - began
        notes = "".join(f"; {note}" for note in getattr(error, "__notes__", ()))
        return Outcome(name, f"**Failed** after {took:.0f} s: {type(error).__name__}: {error}{notes}"), False
    took = time.monotonic() - began
    return replace(outcome, about=f"{outcome.about} The whole took {took:.0f} s."), True


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Raises TimeoutError in what is within it and takes longer."""

    def give_up(_number: int, _frame: FrameType | None) -> NoReturn:
        raise TimeoutError(f"given up after {seconds:g} s")

    signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    """All servers are ended on the way out."""
    _INTERRUPTED.set()
    raise KeyboardInterrupt


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help=f"one short round; by default of {', '.join(QUICK_WORKLOADS)}"
    )
    parser.add_argument(
        "--folder", help="where to store; the disk that is measured (default: where temporary files go)"
    )
    parser.add_argument(
        "--results", default=report.RESULTS, help="where the report goes (default: %(default)s)"
    )
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=f"some of: {', '.join(WORKLOADS)}")
    asked = parser.parse_args()
    unknown = [name for name in asked.workloads if name not in WORKLOADS]
    if unknown:
        parser.error(f"no such workload: {', '.join(unknown)}; there are {', '.join(WORKLOADS)}")
    return asked


if __name__ == "__main__":
    sys.exit(main())
