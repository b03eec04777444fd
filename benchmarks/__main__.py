"""`python -m benchmarks`: measure cargohold beside its peers, on this machine, in one run."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from benchmarks import machine, report
from benchmarks.bench import Bench
from benchmarks.content import Source
from benchmarks.contestants.cargohold import Cargohold
from benchmarks.contestants.distribution import Distribution
from benchmarks.contestants.nginx import Nginx
from benchmarks.contestants.zot import Zot
from benchmarks.outcome import FULL, QUICK
from benchmarks.processes import CLIENT_CORES
from benchmarks.workloads import WORKLOADS

if TYPE_CHECKING:
    from benchmarks.contestants.contestant import Contestant

CONTESTANTS: tuple[type[Contestant], ...] = (Cargohold, Distribution, Zot, Nginx)


def main() -> int:
    """Gives the exit code: 0 when all was measured, whether the goals were met or not."""
    asked = _arguments()
    os.sched_setaffinity(0, CLIENT_CORES)
    found = {kind: kind.find() for kind in CONTESTANTS}
    present = [kind(program) for kind, program in found.items() if program]
    versions = {kind.name: "not installed: left out" for kind in CONTESTANTS}
    versions |= {contestant.name: contestant.version() for contestant in present}
    for name, version in versions.items():
        print(f"{name}: {version}", flush=True)
    scale = QUICK if asked.quick else FULL
    with tempfile.TemporaryDirectory(prefix="cargohold-bench-", dir=asked.folder) as folder:
        about = machine.describe(folder) | {"scale": scale.name}
        bench = Bench(present, scale, folder, Source(folder, scale.largest_blob_bytes))
        outcomes = {}
        for name in asked.workloads or WORKLOADS:
            outcomes[name] = WORKLOADS[name](bench)
            print("\n".join(report.section(outcomes[name])), flush=True)
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    print(f"\nwritten: {report.write(f'{stamp}-{scale.name}', about, versions, outcomes)}")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="about a minute: one short round of each")
    parser.add_argument(
        "--folder", help="where to store; the disk that is measured (default: where temporary files go)"
    )
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=f"some of: {', '.join(WORKLOADS)}")
    asked = parser.parse_args()
    unknown = [name for name in asked.workloads if name not in WORKLOADS]
    if unknown:
        parser.error(f"no such workload: {', '.join(unknown)}; there are {', '.join(WORKLOADS)}")
    return asked


if __name__ == "__main__":
    sys.exit(main())
