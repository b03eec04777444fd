"""A run of the garbage collector, put together from the settings, and what is told and noted of it."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from cargohold.app.keeping import collects_untagged, retain
from cargohold.registry.gc import Collector, Report
from cargohold.storage.filesystem.collection import FileCollection, alone, empty
from cargohold.storage.filesystem.collection.clock import Clock, Void
from cargohold.storage.filesystem.collection.content import EMPTY_AFTER
from cargohold.storage.filesystem.leases import LONGEST_STEP
from cargohold.storage.filesystem.pace import ClosingError, Pace
from cargohold.storage.filesystem.tree import told
from cargohold.storage.protocols import StoreError
from cargohold.storage.runs import RunsFile

if TYPE_CHECKING:
    from collections.abc import Callable

    from cargohold.config import Settings
    from cargohold.registry.retention import Decision
    from cargohold.storage.collecting import Collected
    from cargohold.storage.filesystem import FilesystemStore
    from cargohold.storage.runs import Outcome

REMOVED_AFTER: Final = EMPTY_AFTER + 1.0
"""Seconds after a run, until all that it has collected can be removed from the disk."""

_log = logging.getLogger(__name__)


def collect(  # noqa: PLR0913 - all that a run can be asked for
    settings: Settings,
    store: FilesystemStore,
    *,
    min_age: float | None = None,
    is_dry: bool = False,
    removed: Callable[[Decision], None] = lambda _: None,
    found: Callable[[Collected], None] = lambda _: None,
    on_step: Callable[[int], None] = lambda _: None,
    is_closing: Callable[[], bool] = lambda: False,
) -> Report | None:
    """Collect once, in this thread; None where another process is collecting.

    `min_age` takes the place of the grace time, in seconds. `removed` is told of each tag that retention removes, or
    would in a dry run, `found` of each thing that is collected, `on_step` of how many more things were looked at. Once
    `is_closing` says so the run ends where it is, and the next goes on from there. What was collected is off the disk
    when `remove_swept` is called half a minute later. Raises StoreError, and OSError.
    """
    report = Report(started=time.time(), is_dry=is_dry)

    def tell(each: Collected) -> None:
        report.add(each)
        found(each)

    clock = Clock(store.layout.gc)
    pace = _Watched(is_closing, settings.gc.share, on_step, clock)
    # A lease may be a step older than it seems (see `filesystem.leases`).
    grace = settings.gc.grace if min_age is None else min_age
    age = grace + store.terms.step
    with alone(store) as is_alone:
        if not is_alone:
            return None
        age += clock.allowance(age, longest=settings.gc.grace + LONGEST_STEP, is_dry=is_dry)
        try:
            if not is_dry:
                report.freed_bytes = empty(store, pace)
            report.tags = retain(settings, store, pace, age=age, is_dry=is_dry, removed=removed)
            collection = FileCollection(store, pace, tell, age=age, grace=grace, is_dry=is_dry)
            try:
                clock.check()
                Collector(collection, report, age=age, untagged=collects_untagged(settings), found=tell).run()
            except Void:
                collection.drop()
                raise
        except ClosingError:
            pass
    return report


def run(  # noqa: PLR0913 - as above
    settings: Settings,
    store: FilesystemStore,
    *,
    min_age: float | None = None,
    found: Callable[[Collected], None] = lambda _: None,
    on_step: Callable[[int], None] = lambda _: None,
    is_closing: Callable[[], bool] = lambda: False,
) -> Report | None:
    """Collect once, as `collect` does, and tell of it in the log; note it for the metrics and the schedule.

    Raises StoreError.
    """
    file, freed = RunsFile(store.layout), 0

    def tell(each: Collected) -> None:
        nonlocal freed
        freed += each.size if each.kind == "blob" else 0
        found(each)

    try:
        with told():
            report = collect(
                settings, store, min_age=min_age, found=tell, on_step=on_step, is_closing=is_closing
            )
    except Exception:
        _note(file, "failed", freed=freed)
        raise
    if report is None:
        _log.info("no garbage is collected now: another process does that, or copies the storage")
        return None
    outcome: Outcome = "partial" if report.skipped else "complete"
    _note(
        file,
        outcome if report.ended else "stopped",
        seconds=report.seconds,
        skipped=len(report.skipped),
        freed=freed,
    )
    _tell(report)
    return report


def remove_swept(settings: Settings, store: FilesystemStore, is_closing: Callable[[], bool]) -> int:
    """Remove from the disk what was collected half a minute ago or earlier; how many bytes. Raises StoreError."""
    try:
        with told():
            return empty(store, Pace(is_closing, settings.gc.share))
    except ClosingError:
        return 0


def _note(
    file: RunsFile, outcome: Outcome, *, seconds: float = 0.0, skipped: int = 0, freed: int = 0
) -> None:
    """What was done was done, noted or not."""
    try:
        file.note(outcome, seconds=seconds, skipped=skipped, freed=freed)
    except (OSError, StoreError) as error:
        _log.warning("the run of the collector cannot be noted: %s", error)


def _tell(report: Report) -> None:
    _log.info(
        "%s: %d tags, %d manifests, %d links and %d blobs (%d bytes) went in %d repositories, %d of which were skipped;"
        " %.1f seconds",
        "collected garbage"
        if report.ended
        else "the collection of garbage was broken off, to be gone on with",
        report.tags,
        report.manifests,
        report.links,
        report.blobs,
        report.collected_bytes,
        report.repositories,
        len(report.skipped),
        report.seconds,
    )


class _Watched(Pace):
    """Tells of each step, and raises ClockSet where the clock was set before it."""

    def __init__(
        self, is_closing: Callable[[], bool], share: float, on_step: Callable[[int], None], clock: Clock
    ) -> None:
        super().__init__(is_closing, share)
        self._on_step = on_step
        self._clock = clock

    def step(self) -> None:
        self._on_step(1)
        super().step()
        self._clock.check()
