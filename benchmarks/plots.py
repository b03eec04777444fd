"""The outcomes as pictures: for each workload the bars of all contestants beside each other."""

from __future__ import annotations

import importlib.util
import os
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

    from benchmarks.outcome import Outcome

_COLOURS = {"cargohold": "#1f6fb4", "distribution": "#d1852b", "zot": "#5f9e4a", "nginx": "#8d8d8d"}
_FURTHER = ("#9467bd", "#c0504d", "#17a2a2", "#444444")
_BAR_INCHES = 0.13
_PANEL_INCHES = 3.6
_LABEL_INCHES = 2.4
# Where the longest bar is so many times the shortest, the short ones would not be seen on an even scale.
_EVEN_UP_TO = 50


def draw(folder: str, under: str, outcomes: Mapping[str, Outcome]) -> dict[str, str]:
    """Write `<workload>.svg` into the folder for each that has rows; the names, none where matplotlib is missing."""
    if importlib.util.find_spec("matplotlib") is None:
        return {}
    names = {}
    for key, outcome in outcomes.items():
        if outcome.rows:
            names[key] = f"{key}.svg"
            _picture(os.path.join(folder, names[key]), under, outcome)
    return names


def telling(outcome: Outcome) -> list[str]:
    """The figures worth a picture: what is first in a row, rates, the time of slow answers, what the server took."""
    firsts = {next(iter(row.figures)) for row in outcome.rows}
    return [
        name
        for name in outcome.columns()
        if name in firsts
        or name.endswith("/s")
        or name == "p99 ms"
        or name.startswith("server CPU")
        or any(word in name for word in ("memory", "PSS"))
    ]


def _picture(path: str, under: str, outcome: Outcome) -> None:
    import matplotlib as mpl  # noqa: PLC0415 - it is for those who want pictures, and slow to import
    from matplotlib.backends.backend_svg import FigureCanvasSVG  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    figures = telling(outcome)
    cases = list(dict.fromkeys(row.case for row in outcome.rows))
    height = _BAR_INCHES * (len(outcome.rows) + 1.5 * len(cases)) + 1.4
    size = (_LABEL_INCHES + _PANEL_INCHES * len(figures), height)
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "cargohold", "font.size": 8}):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        panels = figure.subplots(1, len(figures), squeeze=False)[0]
        for number, (panel, name) in enumerate(zip(panels, figures, strict=True)):
            _bars(panel, outcome, name, cases)
            panel.set_yticklabels([textwrap.fill(case, 40) for case in cases] if number == 0 else [])
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper right", ncols=len(labels), frameon=False)
        figure.suptitle(_title(outcome), x=0.01, ha="left", weight="bold")
        figure.supxlabel("\n".join(textwrap.wrap(under, 55 * len(figures))), fontsize=6, color="#666666")
        figure.savefig(path, metadata={"Date": None})


def _title(outcome: Outcome) -> str:
    if not outcome.goals:
        return outcome.title
    met = sum(goal.met for goal in outcome.goals)
    return f"{outcome.title}: {met} of {len(outcome.goals)} goals met"


def _bars(panel: Axes, outcome: Outcome, name: str, cases: Sequence[str]) -> None:
    """One figure: the cases from top to bottom, and in each its contestants, as close as they can be."""
    contestants = list(dict.fromkeys(row.contestant for row in outcome.rows))
    further = iter(_FURTHER * len(contestants))
    colours = {each: _COLOURS.get(each) or next(further) for each in contestants}
    middles, top, values = [], 0.0, []
    for case in cases:
        rows = [row for row in outcome.rows if row.case == case]
        for place, row in enumerate(rows):
            value = row.figures.get(name, 0.0)
            values.append(value)
            panel.barh(top + place, value, height=0.9, color=colours[row.contestant])
            if value:
                panel.annotate(
                    f" {value:,.3g}" if value < 100 else f" {value:,.0f}",
                    (value, top + place),
                    va="center",
                    fontsize=6,
                )
        middles.append(top + (len(rows) - 1) / 2)
        top += len(rows) + 1.5
    for each in contestants:
        panel.barh(0, 0, color=colours[each], label=each)
    panel.set_yticks(middles)
    panel.invert_yaxis()
    panel.xaxis.set_visible(False)  # each bar says its number
    panel.spines[["top", "right", "bottom"]].set_visible(False)
    panel.margins(x=0.18, y=0.01)
    positive = [value for value in values if value > 0]
    if positive and max(positive) > _EVEN_UP_TO * min(positive):
        panel.set_xscale("log")
        name = f"{name} (logarithmic)"
    panel.set_title(name, fontsize=8)
