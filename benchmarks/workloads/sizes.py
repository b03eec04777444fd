"""The sizes that blobs are moved in: what the workloads of downloads and of uploads have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.load import transfers
from benchmarks.outcome import GIB, MIB, Goal, figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.outcome import Row, Scale

KIB = 1 << 10
_UNITS = ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB"))


def sizes(scale: Scale) -> list[int]:
    """A config, a small layer, a large layer, and a model, as far as the scale goes."""
    return [size for size in (KIB, MIB, 100 * MIB, GIB) if size <= scale.largest_blob_bytes]


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
