"""A repair of a storage, to be run by a process that is killed in its midst."""

from __future__ import annotations

import itertools
import os
import signal
from typing import TYPE_CHECKING, Any

from cargohold.storage.filesystem import FilesystemStore
from cargohold.storage.filesystem.checking.check import Check, Wanted
from tests.crash.calls import surround

if TYPE_CHECKING:
    from collections.abc import Callable

    from cargohold.storage.filesystem.checking.findings import Finding


def repair(root: str) -> list[Finding]:
    """Verify and repair; what was found."""
    store = FilesystemStore(root)
    try:
        return list(Check(store, Wanted(repair=True, verify=True)).run())
    finally:
        store.close()


def repair_killed(root: str, step: int) -> None:
    """The same in this process, which dies just before its n-th change of the tree."""
    steps = itertools.count(1)

    def around(name: str, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Any:
        # A kill before a sync leaves what one after it does; most writes are those of the totals.
        if name not in {"sync_file", "sync_folder", "write"} and next(steps) == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments, **named)

    surround(around)
    repair(root)
