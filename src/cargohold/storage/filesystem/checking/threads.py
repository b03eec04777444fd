"""Many things to be looked at, by a few threads at once."""

from __future__ import annotations

import queue
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

T = TypeVar("T")
R = TypeVar("R")

_WAITING: Final = 256
_NAP: Final = 0.1


def looked_at(
    jobs: int, look: Callable[[T], Iterator[R]], things: Iterable[T], closing: threading.Event
) -> Generator[R]:
    """What `look` gives of the things, as it comes, in no order; little of it is held in memory.

    When all threads have ended, raises the first error of one. Whoever leaves it early sets `closing` by that, at
    which the threads end; they are waited for.
    """
    work = _Work(look, things, closing)
    with ThreadPoolExecutor(jobs, "check") as pool:
        threads = [pool.submit(work.run) for _ in range(jobs)]
        try:
            yield from work.found(jobs)
        except BaseException:
            closing.set()
            raise
    for thread in threads:
        thread.result()


class _Work(Generic[T, R]):
    """What threads share: the things that are waiting, and what was found and not yet taken. None ends a thread."""

    def __init__(
        self, look: Callable[[T], Iterator[R]], things: Iterable[T], closing: threading.Event
    ) -> None:
        self._look, self._waiting, self._closing = look, iter(things), closing
        self._found: queue.Queue[R | None] = queue.Queue(_WAITING)
        self._turn = threading.Lock()

    def run(self) -> None:
        """Look at one thing after the other, until there are no more."""
        try:
            while thing := self._next():
                for each in self._look(thing[0]):
                    if not self._give(each):
                        return
        finally:
            self._give(None)

    def _next(self) -> list[T]:
        with self._turn:
            return list(islice(self._waiting, 1))

    def _give(self, each: R | None) -> bool:
        """Whether it was taken up; not where nobody waits for it any more."""
        while not self._closing.is_set():
            try:
                self._found.put(each, timeout=_NAP)
            except queue.Full:
                continue
            return True
        return False

    def found(self, running: int) -> Iterator[R]:
        """What is found, until so many threads have ended."""
        while running and not self._closing.is_set():
            try:
                each = self._found.get(timeout=_NAP)
            except queue.Empty:
                continue
            if each is None:
                running -= 1
            else:
                yield each
