"""How soon a registry answers after its start, and what it takes when nothing is asked of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks.outcome import MIB, Outcome, Row, limit_goal, median_rows
from benchmarks.processes import footprint, pss, running

if TYPE_CHECKING:
    from benchmarks.bench import Bench
    from benchmarks.contestants.contestant import Contestant

_STARTS = 5
_SETTLE_SECONDS = 1.0
_CASE = "start"
_FIRST, _PSS, _ALONE = "first answer s", "PSS MB", "memory alone MB"


def idle(bench: Bench) -> Outcome:
    """Goals: the first answer within 0.5 s, and 50 MB for all processes together."""
    rows = median_rows(_start(bench, contestant) for _ in range(_STARTS) for contestant in bench.contestants)
    return Outcome(
        "First answer and idle memory",
        "From the start of the program on an empty storage to the first answer to `GET /v2/`; a second later, the"
        " memory of all its processes, with default settings. PSS divides what programs share among all that run on the"
        " machine; `memory alone` counts it whole, as on a machine where nothing else runs. MB are 2^20 bytes.",
        rows,
        [
            *limit_goal(rows, _CASE, _FIRST, 0.5),
            *limit_goal(rows, _CASE, _PSS, 50),
            *limit_goal(rows, _CASE, _ALONE, 50),
        ],
    )


def _start(bench: Bench, contestant: Contestant) -> Row:
    with running(contestant, bench.folder) as server:
        time.sleep(_SETTLE_SECONDS)
        pids = server.pids()
        return Row(
            _CASE,
            contestant.name,
            {
                _FIRST: server.first_answer,
                _PSS: pss(pids) / MIB,
                _ALONE: footprint(pids) / MIB,
                "processes": len(pids),
            },
        )
