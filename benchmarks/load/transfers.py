"""What came of transfers of blobs, as figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from benchmarks.load.requests import P50, P99, P999, PEAK, percentile
from benchmarks.outcome import GIB, MIB

if TYPE_CHECKING:
    from collections.abc import Sequence

RATE = "MB/s"
SERVER_CPU = "server CPU-s/GiB"


class Transfers(NamedTuple):
    """What came of it: `took` is the seconds of each transfer, `memory` the most bytes the server was seen to have."""

    bytes: int
    seconds: float
    took: Sequence[float]
    server_cpu: float
    client_cpu: float
    memory: int

    def figures(self) -> dict[str, float]:
        """For a row of a table."""
        gibibytes = self.bytes / GIB
        return {
            RATE: self.bytes / self.seconds / 1e6,
            P50: percentile(self.took, 50),
            P99: percentile(self.took, 99),
            P999: percentile(self.took, 99.9),
            SERVER_CPU: self.server_cpu / gibibytes,
            "client CPU-s/GiB": self.client_cpu / gibibytes,
            PEAK: self.memory / MIB,
        }
