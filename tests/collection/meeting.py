"""Two parties at one tree that meet at every moment: one stops, the other does all of its work, and the first goes on.

A moment is a look at something in the tree, or a change of it, at which the first holds no lock of the storage. While
it holds one, the other would wait for it.
"""

from __future__ import annotations

import itertools
import os
import shutil
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final
from unittest.mock import patch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from cargohold.storage.filesystem import FilesystemStore

_CALLS: Final = (
    "open",
    "stat",
    "access",
    "listdir",
    "scandir",
    "rename",
    "utime",
    "unlink",
    "rmdir",
    "mkdir",
)
_MOST_MOMENTS: Final = 1_000


def moments(tree: Path, root: Path) -> Iterator[int]:
    """A copy of the tree at `root`, times and all, for each moment; the caller ends it when all have been seen."""
    for number in itertools.count():
        assert number < _MOST_MOMENTS
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(tree, root)
        yield number


class Meeting:
    """Has `work` done at one moment of what uses `store`: that which has `before` others before it."""

    def __init__(self, store: FilesystemStore, before: int, work: Callable[[], object]) -> None:
        self._locks = store.locks
        self._root = store.layout.registry
        self._left = before
        self._work = work
        self._held = 0
        self.took_place = False

    @contextmanager
    def watched(self) -> Iterator[None]:
        """The first party works in the body, in any threads, one after the other."""
        with ExitStack() as patches:
            for name in _CALLS:
                patches.enter_context(patch.object(os, name, self._stopping(getattr(os, name))))
            patches.enter_context(patch.object(self._locks, "hold", self._counting(self._locks.hold)))
            yield

    def _stopping(self, call: Callable[..., object]) -> Callable[..., object]:
        def called(*arguments: object, **options: object) -> object:
            if arguments and str(arguments[0]).startswith(self._root) and _is_there(str(arguments[0])):
                self._stop()
            return call(*arguments, **options)

        return called

    def _counting(
        self, hold: Callable[..., AbstractContextManager[None]]
    ) -> Callable[..., AbstractContextManager[None]]:
        @contextmanager
        def held(*names: str, **options: float) -> Iterator[None]:
            self._stop()
            with hold(*names, **options):
                self._held += 1
                try:
                    yield
                finally:
                    self._held -= 1

        return held

    def _stop(self) -> None:
        if self.took_place or self._held:
            return
        self._left -= 1
        if self._left < 0:
            self.took_place = True
            self._work()


def _is_there(path: str) -> bool:
    try:
        os.lstat(path)
    except OSError:
        return False
    return True
