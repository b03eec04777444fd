"""The outcomes as a page for people and as JSON for programs."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from benchmarks.outcome import Goal, Outcome, Row

RESULTS = os.path.join(os.path.dirname(__file__), "results")


def write(
    name: str,
    about: Mapping[str, str],
    versions: Mapping[str, str],
    outcomes: Mapping[str, Outcome],
) -> str:
    """Write `results/<name>.md` and `.json`; the path of the page."""
    os.makedirs(RESULTS, exist_ok=True)
    page, data = (os.path.join(RESULTS, f"{name}.{kind}") for kind in ("md", "json"))
    with open(data, "w", encoding="utf-8") as file:
        plain = {key: outcome.as_json() for key, outcome in outcomes.items()}
        json.dump({"machine": dict(about), "versions": dict(versions), "workloads": plain}, file, indent=1)
        file.write("\n")
    with open(page, "w", encoding="utf-8") as file:
        file.write("\n".join(_page(about, versions, outcomes.values())) + "\n")
    return page


def _page(
    about: Mapping[str, str], versions: Mapping[str, str], outcomes: Iterable[Outcome]
) -> Iterator[str]:
    yield "# Benchmarks\n"
    yield from _table(["", ""], [*about.items(), *versions.items()])
    for outcome in outcomes:
        yield from section(outcome)


def section(outcome: Outcome) -> Iterator[str]:
    """The lines of one workload: how it was measured, the table of figures, the goals."""
    yield f"\n## {outcome.title}\n"
    yield f"{outcome.about}\n"
    if outcome.rows:
        columns = list(dict.fromkeys(name for row in outcome.rows for name in row.figures))
        yield from _table(["case", "", *columns], [_cells(row, columns) for row in outcome.rows])
    if outcome.goals:
        yield ""
        yield from _table(["goal", "measured", "wanted", ""], map(_goal_cells, outcome.goals))


def _cells(row: Row, columns: Sequence[str]) -> list[str]:
    figures = [_number(row.figures[name]) if name in row.figures else "" for name in columns]
    return [row.case, row.contestant, *figures]


def _goal_cells(goal: Goal) -> list[str]:
    wanted = f"at {'least' if goal.at_least else 'most'} {goal.bound:g}"
    return [goal.text, _number(goal.measured), wanted, "met" if goal.met else "**missed**"]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _number(value: float) -> str:
    """Three digits that count, and no exponent."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"
