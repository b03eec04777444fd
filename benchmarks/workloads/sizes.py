"""The sizes that blobs are moved in, how often, and what is said of it: what the workloads of blobs share."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks.load import transfers
from benchmarks.outcome import GIB, MIB, Goal, figure

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.outcome import Row, Scale

KIB = 1 << 10
_UNITS = ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB"))


def sizes(scale: Scale) -> list[int]:
    """A config, a small layer, a large layer, and a model, as far as the scale goes."""
    return [size for size in (KIB, MIB, 100 * MIB, GIB) if size <= scale.largest_blob_bytes]


def rounds(scale: Scale, most: int) -> Iterator[int]:
    """The numbers of the rounds: at most so many, and none is begun when a third of the time has passed."""
    ends = time.monotonic() + scale.limit / 3
    for number in range(min(scale.rounds, most)):
        if number and time.monotonic() > ends:
            return
        yield number


def written_size(size: int) -> str:
    """In the largest unit of which it has one."""
    return next(f"{size // unit} {name}" for unit, name in _UNITS if size >= unit)


def written_clients(clients: int) -> str:
    """Their number."""
    return f"{clients} client{'s' if clients > 1 else ''}"


def cost_goal(rows: Sequence[Row], case: str) -> list[Goal]:
    """The goal that a GiB takes no more of cargohold's processors than of Distribution's."""
    ours, theirs = (figure(rows, case, name, transfers.SERVER_CPU) for name in ("cargohold", "distribution"))
    if ours is None or not theirs:
        return []
    return [Goal(f"{case}: {transfers.SERVER_CPU}, times that of distribution", ours / theirs, 1)]
