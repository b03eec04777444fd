"""Runs of the collector in a test, on trees that are made old."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from cargohold.registry.gc import Collector, Report
from cargohold.storage.filesystem.collection import FileCollection
from cargohold.storage.filesystem.pace import Pace
from cargohold.types.digest import Digest

from .contract.base import sample

if TYPE_CHECKING:
    from collections.abc import Callable

    from cargohold.storage.collecting import Collected
    from cargohold.storage.filesystem import FilesystemStore
    from cargohold.types.names import RepositoryName

HOUR = 3600.0
LAYER, IMAGE, STRAY = b"first", sample("first"), b"stray"


def never(_: RepositoryName) -> bool:
    return False


def everywhere(_: RepositoryName) -> bool:
    return True


def make_old(store: FilesystemStore, seconds: float = 100 * HOUR) -> None:
    """Set back all times of what is stored, when what is removed behind the answers is gone."""
    store.disk.removals.close()
    then = time.time() - seconds
    for folder, _, files in os.walk(store.layout.registry):
        for name in [".", *files]:
            os.utime(f"{folder}/{name}", (then, then))


def contents(store: FilesystemStore) -> set[Digest]:
    """Of which there are bytes."""
    found = (Path(folder) for folder, _, files in os.walk(store.layout.blobs) if "data" in files)
    return {Digest(f"{folder.parent.parent.name}:{folder.name}") for folder in found}


def collect(  # noqa: PLR0913 - what a run can be asked for
    store: FilesystemStore,
    *,
    age: float = HOUR,
    grace: float | None = None,
    untagged: Callable[[RepositoryName], bool] = never,
    is_dry: bool = False,
    found: Callable[[Collected], None] = lambda _: None,
    is_closing: Callable[[], bool] = lambda: False,
) -> Report:
    """One run, without rests."""
    report = Report(started=time.time(), is_dry=is_dry)

    def tell(each: Collected) -> None:
        report.add(each)
        found(each)

    collection = FileCollection(store, Pace(is_closing, 1.0), tell, age=age, grace=grace, is_dry=is_dry)
    Collector(collection, report, age=age, untagged=untagged, found=tell).run()
    return report
