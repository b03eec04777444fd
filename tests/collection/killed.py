"""A collection in a process of its own that is killed at one of its steps."""

from __future__ import annotations

import itertools
import os
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

from cargohold.storage import disk
from tests.collection.images import open_store
from tests.storage.collecting import collect, everywhere

if TYPE_CHECKING:
    from collections.abc import Callable


def collect_killed(root: str, step: int) -> None:
    """Collect in this process, which dies just before its n-th change of the disk, if it comes to that."""
    steps = itertools.count()

    def die(_: object) -> None:
        if next(steps) == step:
            os.kill(os.getpid(), signal.SIGKILL)

    collect_watched(root, die)


def collect_watched(root: str, watch: Callable[[object], None]) -> None:
    """Collect, and tell before each change of the disk of what it is."""
    with ExitStack() as patches:
        for name in disk.CALLS:
            patches.enter_context(patch.object(disk, name, _watched(getattr(disk, name), watch)))
        store = open_store(Path(root))
        collect(store, untagged=everywhere)
        store.close()


def _watched(call: Callable[..., object], watch: Callable[[object], None]) -> Callable[..., object]:
    def called(*arguments: object, **options: object) -> object:
        watch(arguments[0])
        return call(*arguments, **options)

    return called
