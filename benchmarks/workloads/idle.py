"""How soon a registry answers after its start, and what it takes when nothing is asked of it."""

from __future__ import annotations

import os
import sys
import sysconfig
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING

from benchmarks.outcome import MIB, Outcome, Row, limit_goal, median_rows
from benchmarks.processes import footprint, pss, running

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from benchmarks.bench import Bench
    from benchmarks.contestants.contestant import Contestant
    from benchmarks.processes import Server

_STARTS = 3
_SETTLE_SECONDS = 1.0
_WARM, _COLD = "start", "cold start"
_FIRST, _PSS, _ALONE = "first answer s", "PSS MB", "memory alone MB"


def idle(bench: Bench) -> Outcome:
    """Goals: the first answer within 0.5 s, and 50 MB for all processes together."""
    rows: list[Row] = []
    for _ in range(min(_STARTS, 2 * bench.scale.rounds)):
        for contestant in bench.contestants:
            files, row = _warm(bench, contestant)
            rows += [row, _cold(bench, contestant, files)]
    medians = median_rows(rows)
    return Outcome(
        "First answer and idle memory",
        "From the start of the program on an empty storage to the first answer to `GET /v2/`; a second later, the"
        " memory of all its processes, with default settings. PSS divides what programs share among all that run on the"
        " machine; `memory alone` counts it whole, as on a machine where nothing else runs. MB are 2^20 bytes. Before a"
        " cold start the files of the program were dropped from the system's memory, but for pages that other running"
        " programs have mapped.",
        medians,
        [
            *limit_goal(medians, _WARM, _FIRST, 0.5),
            *limit_goal(medians, _COLD, _FIRST, 0.5),
            *limit_goal(medians, _WARM, _PSS, 50),
            *limit_goal(medians, _WARM, _ALONE, 50),
        ],
    )


def _warm(bench: Bench, contestant: Contestant) -> tuple[set[str], Row]:
    """The files that the program consists of, too."""
    with running(contestant, bench.folder) as server:
        time.sleep(_SETTLE_SECONDS)
        pids = server.pids()
        figures = {
            _FIRST: server.first_answer,
            _PSS: pss(pids) / MIB,
            _ALONE: footprint(pids) / MIB,
            "processes": len(pids),
        }
        return _program_files(server), Row(_WARM, contestant.name, figures)


def _cold(bench: Bench, contestant: Contestant, files: Iterable[str]) -> Row:
    for path in files:
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    with running(contestant, bench.folder) as server:
        return Row(_COLD, contestant.name, {_FIRST: server.first_answer})


def _program_files(server: Server) -> set[str]:
    """What is mapped, and where that is our interpreter, all the modules that it may read."""
    files = set()
    for pid in server.pids():
        with open(f"/proc/{pid}/maps", encoding="utf-8") as file:
            files |= {words[5].strip() for line in file if len(words := line.split(maxsplit=5)) > 5}
    files = {path for path in files if os.path.isfile(path) and not path.startswith(f"{server.folder}/")}
    return files | set(_modules()) if os.path.realpath(sys.executable) in files else files


def _modules() -> Iterator[str]:
    package = find_spec("cargohold")
    ours = (package and package.submodule_search_locations) or ()
    for folder in (sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), *ours):
        for place, _, names in os.walk(folder):
            yield from (f"{place}/{name}" for name in names if name.endswith((".py", ".pyc", ".so")))
