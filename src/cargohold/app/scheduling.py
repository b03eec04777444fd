"""When a server collects garbage by itself."""

from __future__ import annotations

import logging
import os
import time
from functools import partial
from typing import TYPE_CHECKING, Final

from cargohold.config.schedules import schedule_of
from cargohold.http.chores import Chore
from cargohold.storage.layout import Layout
from cargohold.storage.protocols import StoreError
from cargohold.storage.runs import RunsFile

if TYPE_CHECKING:
    from collections.abc import Callable

    from cargohold.config import Settings
    from cargohold.config.schedules import Schedule
    from cargohold.storage.filesystem import FilesystemStore

_SOON_SECONDS: Final = 300.0
"""After the start of a server, until it makes up for what was missed."""
_AGAIN_SECONDS: Final = 600.0
"""While another holds the collector's lock: a run whose end counts for all, or a copy that is made of the tree."""

_log = logging.getLogger(__name__)


def collector(settings: Settings, open_store: Callable[[], FilesystemStore]) -> Chore | None:
    """The collector as a chore of a server, by its schedule; None where it has none, or only reads.

    The storage must be prepared; `open_store` is called in the chore's process.
    """
    schedule = schedule_of(settings.gc.schedule)
    if schedule is None or settings.read_only:
        return None
    now = time.time()
    soon = min(_SOON_SECONDS, schedule.after(now) - now)
    file = RunsFile(Layout(os.path.abspath(settings.storage.path)))
    first = max(_due(schedule, file), now + soon)
    return Chore("collector", first, partial(_look, settings, schedule, open_store))


def _due(schedule: Schedule, file: RunsFile) -> float:
    """When the next run is due after the last one, of whichever server or command that was."""
    now = time.time()
    try:
        last = file.begin().last
    except (OSError, StoreError) as error:
        _log.warning("when garbage was last collected cannot be told: %s", error)
        last = now
    return schedule.after(min(last, now))  # by a clock that was wrong it may be from the future


def _look(
    settings: Settings,
    schedule: Schedule,
    open_store: Callable[[], FilesystemStore],
    look_at: Callable[[float], None],
    is_closing: Callable[[], bool],
) -> None:
    """In a process of its own: collect where that is due, or remove what was; and tell when to look again."""
    from cargohold.app.collecting import REMOVED_AFTER, remove_swept, run  # noqa: PLC0415 - the server needs none of it

    store = open_store()
    try:
        due = _due(schedule, RunsFile(store.layout))
        if due > time.time():
            look_at(due)
            remove_swept(settings, store, is_closing)
            return
        look_at(schedule.after(time.time()))
        report = run(settings, store, is_closing=is_closing)
        due, now = schedule.after(time.time()), time.time()
        if report is None:
            due = min(due, now + _AGAIN_SECONDS)
        elif report.blobs:
            due = min(due, now + REMOVED_AFTER)
        look_at(due)
    except StoreError as error:
        _log.error("garbage cannot be collected: %s", error)
    finally:
        store.close()
