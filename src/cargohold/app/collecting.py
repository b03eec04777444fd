"""A run of the garbage collector, put together from the settings."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from cargohold.registry.gc import Collector, Report
from cargohold.storage.filesystem.collection import FileCollection, alone, empty
from cargohold.storage.filesystem.pace import ClosingError, Pace

if TYPE_CHECKING:
    from collections.abc import Callable

    from cargohold.config import Settings
    from cargohold.storage.collecting import Collected
    from cargohold.storage.filesystem import FilesystemStore


def collect(  # noqa: PLR0913 - all that a run can be asked for
    settings: Settings,
    store: FilesystemStore,
    *,
    min_age: float | None = None,
    is_dry: bool = False,
    found: Callable[[Collected], None] = lambda _: None,
    is_closing: Callable[[], bool] = lambda: False,
) -> Report | None:
    """Collect once, in this thread; None where another process is collecting.

    `min_age` takes the place of the grace time, in seconds. `found` is told of each thing that is collected, or would
    be in a dry run. Once `is_closing` says so the run ends where it is, and the next goes on from there. What was
    collected is off the disk when `empty` is called half a minute later.
    """
    report = Report(started=time.time(), is_dry=is_dry)

    def tell(each: Collected) -> None:
        report.add(each)
        found(each)

    pace = Pace(is_closing, settings.gc.share)
    # A lease may be a step older than it seems (see `filesystem.leases`).
    age = (settings.gc.grace if min_age is None else min_age) + store.terms.step
    with alone(store) as is_alone:
        if not is_alone:
            return None
        try:
            if not is_dry:
                empty(store, pace)
            collection = FileCollection(store, pace, tell, age=age, is_dry=is_dry)
            Collector(collection, report, age=age, untagged=lambda _: settings.gc.untagged, found=tell).run()
        except ClosingError:
            pass
    return report
