"""What a workload is given and what it hands back, as values."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MB = 1_000_000
MIB = 1 << 20
GIB = 1 << 30


@dataclass(frozen=True)
class Scale:
    """How much is done.

    `rounds` of every measurement, each of `seconds` where time bounds it, else of `blobs` blobs of `blob_bytes`.
    `entries` is how many manifests, tags and repositories there are where there are many, `referrers` how many of
    one manifest; `tree_blobs` the layers of a tree to collect garbage from, the first number that memory holds. An
    image to pull and push has about `image_bytes`, and goes to and from so many clients at once as `pullers` says.
    `many_blob_bytes` are the sizes of blobs of which many are uploaded at once, the first that the disk holds. `limit`
    is the seconds that a workload may plan to take; at twice that it is given up, since a busy machine makes it longer.
    """

    name: str
    rounds: int
    seconds: float
    blob_bytes: int
    blobs: int
    many_blob_bytes: tuple[int, ...]
    largest_blob_bytes: int
    entries: int
    referrers: int
    tree_blobs: tuple[int, ...]
    image_bytes: int
    pullers: int
    limit: float


QUICK = Scale(
    "quick",
    rounds=1,
    seconds=0.5,
    blob_bytes=128 * MIB,
    blobs=4,
    many_blob_bytes=(4 * MB,),
    largest_blob_bytes=128 * MIB,
    entries=2_000,
    referrers=100,
    tree_blobs=(2_000,),
    image_bytes=10 * MIB,
    pullers=4,
    limit=60.0,
)
FULL = Scale(
    "full",
    rounds=3,
    seconds=3.0,
    blob_bytes=256 * MIB,
    blobs=8,
    many_blob_bytes=(1000 * MB, 200 * MB),
    largest_blob_bytes=GIB,
    entries=100_000,
    referrers=10_000,
    tree_blobs=(1_000_000, 100_000),
    image_bytes=100 * MIB,
    pullers=50,
    limit=300.0,
)


@dataclass(frozen=True)
class Row:
    """One line of a table: what a contestant did in one case. The figures' names say their units."""

    case: str
    contestant: str
    figures: Mapping[str, float]


@dataclass(frozen=True)
class Goal:
    """What was aimed at, and what was measured; `at_least` says which side of the bound is the good one."""

    text: str
    measured: float
    bound: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether the figure is on the good side."""
        return self.measured >= self.bound if self.at_least else self.measured <= self.bound


@dataclass(frozen=True)
class Outcome:
    """All that a workload found out; `about` says in a sentence or two how."""

    title: str
    about: str
    rows: Sequence[Row] = ()
    goals: Sequence[Goal] = field(default_factory=list)

    def columns(self) -> list[str]:
        """The names of all figures, in the order in which the rows bring them."""
        return list(dict.fromkeys(name for row in self.rows for name in row.figures))

    def as_json(self) -> dict[str, object]:
        """Plain values."""
        return asdict(self) | {"goals": [asdict(goal) | {"met": goal.met} for goal in self.goals]}


def median_rows(rows: Iterable[Row]) -> list[Row]:
    """One row for each case and contestant: the median of its rounds, figure by figure."""
    grouped: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        grouped.setdefault((row.case, row.contestant), []).append(row)
    return [
        Row(
            case,
            contestant,
            {name: statistics.median(r.figures[name] for r in same) for name in same[0].figures},
        )
        for (case, contestant), same in grouped.items()
    ]


def figure(rows: Iterable[Row], case: str, contestant: str, name: str) -> float | None:
    """One figure out of the rows; None where that contestant did not take part."""
    return next((r.figures[name] for r in rows if (r.case, r.contestant) == (case, contestant)), None)


def ratio_goal(rows: Sequence[Row], case: str, name: str, over: str, bound: float) -> list[Goal]:
    """The goal that cargohold's figure is at least `bound` times that of `over`; none where one of them is missing."""
    ours, theirs = figure(rows, case, "cargohold", name), figure(rows, case, over, name)
    if ours is None or not theirs:
        return []
    return [Goal(f"{case}: {name}, times that of {over}", ours / theirs, bound, at_least=True)]


def limit_goal(rows: Sequence[Row], case: str, name: str, bound: float) -> list[Goal]:
    """The goal that cargohold's figure is at most `bound`."""
    ours = figure(rows, case, "cargohold", name)
    return [] if ours is None else [Goal(f"{case}: {name}", ours, bound)]
