"""Calls made in threads for coroutines, at a third of what `run_in_executor` takes.

That makes for each call a future for threads, with a lock and a condition, and one for the loop, chained to it. Here a
call is one object, and threads that are at work take one after another.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")


_LONG: Final = 0.001
_STUCK: Final = 0.005
_own = threading.local()


@contextmanager
def waiting(seconds: float) -> Iterator[None]:
    """To be used around what waits for the disk, or a lock, as long as that: meanwhile another makes the next call.

    Nothing is done where that takes less than a millisecond, since to wake a thread takes a part of it, and where this
    is none of those threads.
    """
    threads: Threads | None = getattr(_own, "threads", None)
    if threads is None or seconds < _LONG:
        yield
        return
    threads.begin_to_wait()
    try:
        yield
    finally:
        threads.end_to_wait()


class Threads:
    """At most so many threads, which begin with the first call. For any number of event loops.

    Of `frugal` ones a further one is at work only while the others are `waiting`, or seem to be, since the same call
    has been the next one for 5 ms. Whatever a thread asks of the system, it may lose the interpreter's lock to another:
    several that have no need to wait take up to twice as long as one that does the work of all.
    """

    def __init__(self, most: int, name: str, *, frugal: bool = False) -> None:
        self._most = most
        self._wanted = 1 if frugal else most
        self._pool = ThreadPoolExecutor(most, name)
        self._lock = threading.Lock()
        self._calls: deque[_Call[Any]] = deque()
        self._at_work = self._waiting = 0
        self._last = 0
        self._watcher: asyncio.AbstractEventLoop | None = None

    async def run(self, function: Callable[[], T]) -> T:
        """What the function gives, or raises, in one of the threads.

        It is waited for even by who is cancelled, who is cancelled then: what a thread does cannot be stopped, only
        left unwatched. Raises RuntimeError once they are closed.
        """
        call: _Call[T] = _Call(function)
        with self._lock:
            is_enough = self._at_work - self._waiting >= self._wanted or not self._start_thread()
            self._calls.append(call)
        # A loop that was watching may have been closed.
        if is_enough and self._watcher is not call.loop:
            self._watcher = call.loop
            self._look_again()
        return await call.result()

    def _start_thread(self) -> bool:
        """With the lock; whether there was one to be had."""
        if self._at_work == self._most:
            return False
        self._pool.submit(self._work)
        self._at_work += 1
        return True

    def _look_again(self) -> None:
        assert self._watcher is not None
        with self._lock:
            next_call = self._calls[0] if self._calls else None
        self._watcher.call_later(_STUCK, self._look, self._watcher, next_call)

    def _look(self, watcher: asyncio.AbstractEventLoop, was_next: _Call[Any] | None) -> None:
        """While calls wait, see that some are begun all the time."""
        if self._watcher is not watcher:
            return
        if not self._calls:
            self._watcher = None
            return
        with self._lock, suppress(RuntimeError):  # which says that they are closed
            if self._calls and self._calls[0] is was_next:
                self._start_thread()
        self._look_again()

    def _work(self) -> None:
        _own.threads = self
        self._last = me = threading.get_ident()
        while call := self._next_call(me):
            call.make()
            del call

    def _next_call(self, me: int) -> _Call[Any] | None:
        """None where there is none, or where there are more threads than are wanted: the last one goes on."""
        with self._lock:
            if not self._calls or (self._at_work - self._waiting > self._wanted and self._last != me):
                self._at_work -= 1
                return None
            return self._calls.popleft()

    def begin_to_wait(self) -> None:
        """In one of the threads: have another one go on with what there is to do."""
        with self._lock:
            self._waiting += 1
            if self._calls and self._at_work - self._waiting < self._wanted:
                with suppress(RuntimeError):  # which says that they are closed
                    self._start_thread()

    def end_to_wait(self) -> None:
        """In the same thread."""
        with self._lock:
            self._waiting -= 1

    def close(self) -> None:
        """Wait for the calls that there are; no more can be made."""
        self._pool.shutdown()


class _Call(Generic[T]):
    __slots__ = ("_error", "_found", "_function", "_is_made", "_waiter", "loop")

    _found: T

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self.loop = asyncio.get_running_loop()
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
            self.loop.call_soon_threadsafe(self._made)

    def _made(self) -> None:
        self._is_made = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def result(self) -> T:
        """What the function gave, when it has."""
        cancelled: asyncio.CancelledError | None = None
        while not self._is_made:
            self._waiter = self.loop.create_future()
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


async def to_the_end(future: asyncio.Future[T]) -> T:
    """Wait even when cancelled, and be cancelled then: what a thread does cannot be stopped, only left unwatched."""
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.shield(future)
        except asyncio.CancelledError as error:
            cancelled = error
        except Exception:  # noqa: BLE001 - raised below, by the result
            break
    if cancelled is not None:
        raise cancelled
    return future.result()
