"""Calls made in threads for coroutines, at a third of what `run_in_executor` takes.

That makes for each call a future for threads, with a lock and a condition, and one for the loop, chained to it. Here a
call is one object, and threads that are at work take one after another.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Threads:
    """At most so many threads, which begin with the first call. For any number of event loops."""

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._pool = ThreadPoolExecutor(most, name)
        self._lock = threading.Lock()
        self._at_work = 0
        self._calls: deque[_Call[Any]] = deque()

    async def run(self, function: Callable[[], T]) -> T:
        """What the function gives, or raises, in one of the threads.

        It is waited for even by who is cancelled, who is cancelled then: what a thread does cannot be stopped, only
        left unwatched. Raises RuntimeError once they are closed.
        """
        call: _Call[T] = _Call(function)
        self._calls.append(call)
        with self._lock:
            is_short = self._at_work < self._most
            if is_short:
                self._at_work += 1
        if is_short:
            try:
                self._pool.submit(self._work)
            except RuntimeError:
                self._calls.remove(call)
                raise
        return await call.result()

    def _work(self) -> None:
        while True:
            try:
                call = self._calls.popleft()
            except IndexError:
                with self._lock:
                    if not self._calls:
                        self._at_work -= 1
                        return
            else:
                call.make()
                del call

    def close(self) -> None:
        """Wait for the calls that there are; no more can be made."""
        self._pool.shutdown()


class _Call(Generic[T]):
    __slots__ = ("_error", "_found", "_function", "_is_made", "_loop", "_waiter")

    _found: T

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        self._error: BaseException | None = None
        self._is_made = False

    def make(self) -> None:
        """In a thread."""
        try:
            self._found = self._function()
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            self._error = error
        # A loop that has been closed has nobody left who waits.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._made)

    def _made(self) -> None:
        self._is_made = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def result(self) -> T:
        """What the function gave, when it has."""
        cancelled: asyncio.CancelledError | None = None
        while not self._is_made:
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            except asyncio.CancelledError as error:
                cancelled = error
        try:
            if cancelled is not None:
                raise cancelled
            if self._error is not None:
                raise self._error
            return self._found
        finally:
            # An error remembers who raised it: they would keep each other, until they are found.
            del cancelled, self._error
