"""Work that many requests want done at the same moment, and that one can do for all of them."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, TypeVar

from cargohold.storage.protocols import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Hashable


T = TypeVar("T")


class Turns:
    """Runs one piece of work of each key at a time. For one event loop."""

    def __init__(self) -> None:
        self._running: dict[Hashable, asyncio.Task[Any]] = {}

    async def result(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, T]], patience: float) -> T:
        """The result of a run that began after this call, perhaps by another who called for it.

        Raises what the work raises, and Unavailable when `patience` (seconds) is over; the work goes on then.
        """
        deadline = time.monotonic() + patience
        running = self._running.get(key)
        if running is not None:
            # It began before we came, and may have missed what we come for.
            await _end_of(running, deadline)
            running = self._running.get(key)
        if running is None:
            running = self._running[key] = asyncio.ensure_future(work())
            running.add_done_callback(lambda task: self._ended(key, task))
        await _end_of(running, deadline)
        found: T = running.result()
        return found

    def _ended(self, key: Hashable, task: asyncio.Task[Any]) -> None:
        del self._running[key]
        if not task.cancelled():
            # Looked at, so that asyncio does not log what nobody waited for any more: who asks next meets it again.
            task.exception()


async def _end_of(task: asyncio.Task[Any], deadline: float) -> None:
    done, _ = await asyncio.wait({task}, timeout=deadline - time.monotonic())
    if not done:
        raise Unavailable("a list that others have changed is still being read")
