"""The outcomes as a page for people, with pictures, and as JSON for programs."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from benchmarks import plots
from benchmarks.outcome import figure

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from benchmarks.outcome import Goal, Outcome, Row

RESULTS = os.path.join(os.path.dirname(__file__), "results")
_OURS = "cargohold"


def write(
    name: str,
    about: Mapping[str, str],
    versions: Mapping[str, str],
    outcomes: Mapping[str, Outcome],
    results: str = RESULTS,
) -> str:
    """Write `<results>/<name>/`: README.md, results.json, and a picture of each workload; the path of the page."""
    folder = os.path.join(results, name)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "results.json"), "w", encoding="utf-8") as file:
        plain = {key: outcome.as_json() for key, outcome in outcomes.items()}
        json.dump({"machine": dict(about), "versions": dict(versions), "workloads": plain}, file, indent=1)
        file.write("\n")
    under = " · ".join(
        [about.get("date", ""), about.get("processor", ""), *(f"{k} {v}" for k, v in versions.items())]
    )
    pictures = plots.draw(folder, under, outcomes)
    page = os.path.join(folder, "README.md")
    with open(page, "w", encoding="utf-8") as file:
        file.write("\n".join(_page(about, versions, outcomes, pictures)) + "\n")
    return page


def _page(
    about: Mapping[str, str],
    versions: Mapping[str, str],
    outcomes: Mapping[str, Outcome],
    pictures: Mapping[str, str],
) -> Iterator[str]:
    yield "# Benchmarks\n"
    yield from _table(["", ""], [*about.items(), *versions.items()])
    for key, outcome in outcomes.items():
        yield from section(outcome)
        if key in pictures:
            yield f"\n![{outcome.title}]({pictures[key]})"


def section(outcome: Outcome) -> Iterator[str]:
    """The lines of one workload: how it was measured, the table of figures, the ratios, the goals."""
    yield f"\n## {outcome.title}\n"
    yield f"{outcome.about}\n"
    if outcome.rows:
        columns = outcome.columns()
        yield from _table(["case", "", *columns], [_cells(row, columns) for row in outcome.rows])
    ours = {row.case for row in outcome.rows if row.contestant == _OURS}
    others = (row.contestant for row in outcome.rows if row.case in ours and row.contestant != _OURS)
    peers = list(dict.fromkeys(others))
    if ratios := list(_ratios(outcome.rows, peers)):
        yield ""
        yield from _table([f"{_OURS}, times", "", *peers], ratios)
    if outcome.goals:
        yield ""
        yield from _table(["goal", "measured", "wanted", ""], map(_goal_cells, outcome.goals))


def _ratios(rows: Sequence[Row], peers: Sequence[str]) -> Iterator[list[str]]:
    """What is first in each of our rows, rates, and processor time, as multiples of what the others have there."""
    for row in rows:
        if row.contestant != _OURS:
            continue
        first = next(iter(row.figures))
        for name in row.figures:
            if name != first and not name.endswith("/s") and not name.startswith("server CPU"):
                continue
            theirs = [figure(rows, row.case, peer, name) for peer in peers]
            if any(theirs):
                yield [
                    row.case,
                    name,
                    *(_number(row.figures[name] / each) if each else "" for each in theirs),
                ]


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
