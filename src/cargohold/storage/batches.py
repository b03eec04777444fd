"""Work that one call does for many: whoever asks for it while a call is under way goes along with the next."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

from cargohold.storage.locks import Busy
from cargohold.storage.protocols import StoreError
from cargohold.storage.threads import to_the_end

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable, Sequence

K = TypeVar("K", bound="Hashable")
A = TypeVar("A")
R = TypeVar("R")


class Batches(Generic[K, A, R]):
    """Runs one call of each key at a time, each for `most` askers at the most. For one event loop.

    `work` is given a key and what was asked for under it, and gives to each its result, or the error that is to be
    raised. What it raises itself is raised to all of them; Busy also to those who wait behind them for the same lock,
    which nobody had in all that time.
    """

    def __init__(self, work: Callable[[K, list[A]], Awaitable[Sequence[R | Exception]]], most: int) -> None:
        self._work = work
        self._most = most
        self._asked: dict[K, deque[tuple[A, asyncio.Future[R]]]] = {}
        self._begun: set[asyncio.Future[R]] = set()
        self._running: set[asyncio.Task[None]] = set()

    async def result(self, key: K, asked: A) -> R:
        """What came of it, in a call that began after this one.

        Who waits for nobody makes the call himself, for himself alone, and is cancelled in it as `work` has it. Of the
        others, who is cancelled before his call began has asked for nothing; later, he is cancelled when it has ended.
        """
        queue = self._asked.get(key)
        if queue is None:
            return await self._first(key, asked)
        waiter: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        queue.append((asked, waiter))
        try:
            return await asyncio.shield(waiter)
        except asyncio.CancelledError:
            if waiter in self._begun:
                with suppress(Exception):
                    await to_the_end(waiter)
            else:
                waiter.cancel()
            raise

    async def _first(self, key: K, asked: A) -> R:
        """A task of its own would cost him as much as a tenth of a push."""
        queue = self._asked[key] = deque()
        try:
            (result,) = await self._work(key, [asked])
        except Busy as busy:
            _tell_all(queue, busy)
            raise
        finally:
            self._go_on(key, queue)
        if isinstance(result, Exception):
            raise result
        return result

    def _go_on(self, key: K, queue: deque[tuple[A, asyncio.Future[R]]]) -> None:
        """With those who came meanwhile."""
        if not queue:
            del self._asked[key]
            return
        task = asyncio.ensure_future(self._run(key, queue))
        self._running.add(task)
        task.add_done_callback(partial(self._ended, key, queue))

    def _ended(self, key: K, queue: deque[tuple[A, asyncio.Future[R]]], task: asyncio.Task[None]) -> None:
        """There are such who wait still where the task was cancelled, perhaps before its first step."""
        self._running.discard(task)
        if self._asked.get(key) is queue:
            del self._asked[key]
        for _, waiter in queue:
            waiter.cancel()

    async def _run(self, key: K, queue: deque[tuple[A, asyncio.Future[R]]]) -> None:
        while queue:
            batch: list[tuple[A, asyncio.Future[R]]] = []
            while queue and len(batch) < self._most:
                asked, waiter = queue.popleft()
                if not waiter.done():
                    batch.append((asked, waiter))
            waiters = {waiter for _, waiter in batch}
            self._begun |= waiters
            try:
                if batch:
                    await self._do(key, batch)
            except Busy as busy:
                _tell_all(queue, busy)
            finally:
                self._begun -= waiters
                for waiter in waiters:
                    waiter.cancel()
        del self._asked[key]

    async def _do(self, key: K, batch: list[tuple[A, asyncio.Future[R]]]) -> None:
        """Raises Busy, when those of the batch have been told."""
        results: Sequence[R | Exception]
        try:
            results = await self._work(key, [asked for asked, _ in batch])
        except Exception as error:
            for _, waiter in batch:
                _tell(waiter, error)
            if isinstance(error, Busy):
                raise
            return
        for (_, waiter), result in zip(batch, results, strict=True):
            _tell(waiter, result)


def _tell_all(queue: deque[tuple[A, asyncio.Future[R]]], error: Exception) -> None:
    while queue:
        _tell(queue.popleft()[1], error)


async def each_for_itself(
    work: Callable[[list[A]], Awaitable[Sequence[R | Exception]]], asked: list[A]
) -> Sequence[R | Exception]:
    """What `work` gives for all of them; where it fails, for each alone: nobody fails by what another has asked for.

    Raises Busy, which they all have in common.
    """
    try:
        return await work(asked)
    except Busy:
        raise
    except StoreError as error:
        if len(asked) == 1:
            return [error]
    return [(await each_for_itself(work, [each]))[0] for each in asked]


def _tell(waiter: asyncio.Future[R], result: R | Exception) -> None:
    if waiter.done():
        return
    if isinstance(result, Exception):
        waiter.set_exception(result)
    else:
        waiter.set_result(result)
