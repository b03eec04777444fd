"""How far something has come that takes long: a bar on a terminal, and nothing elsewhere."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.progress import Progress

_PATIENCE_SECONDS = 0.5


@contextmanager
def progress(doing: str, total: int | None = None, *, quiet: bool = False) -> Iterator[Callable[[int], None]]:
    """Show on stderr how far `doing` is; what it gives is called with how many more are done, from one thread.

    Nothing is shown where stderr is no terminal, where `quiet` asks for that, or within the first half second. `total`
    is how many there are, None where nobody knows.
    """
    if quiet or sys.stderr is None or not sys.stderr.isatty():
        yield _ignore
        return
    bar = _Bar(doing, total)
    try:
        yield bar.advance
    finally:
        bar.stop()


def _ignore(_done: int) -> None:
    pass


class _Bar:
    def __init__(self, doing: str, total: int | None) -> None:
        self._doing, self._total, self._done = doing, total, 0
        self._since = time.monotonic()
        self._shown: Progress | None = None

    def advance(self, done: int) -> None:
        self._done += done
        if self._shown is None and time.monotonic() - self._since >= _PATIENCE_SECONDS:
            self._shown = _shown(self._doing, self._total)
        if self._shown is not None:
            self._shown.update(self._shown.task_ids[0], completed=self._done)

    def stop(self) -> None:
        if self._shown is not None:
            self._shown.stop()


def _shown(doing: str, total: int | None) -> Progress:
    from rich.console import Console  # noqa: PLC0415 - what is quick need not wait for them
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False)
    bar.add_task(doing, total=total)
    bar.start()
    return bar
