"""How steps are made to meet, and to be cancelled."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from cargohold.storage.protocols import Conflict, NotFound

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

ROUNDS = 40


async def done(step: Awaitable[object]) -> bool:
    """Whether the step was taken; False where the store said that what it needs is not so."""
    try:
        await step
    except (NotFound, Conflict):
        return False
    return True


async def cancelled_after(step: Coroutine[object, object, object], pauses: int) -> None:
    """Start the step and cancel it when the loop has turned so often, unless it has ended by then; no error else."""
    task = asyncio.ensure_future(step)
    for _ in range(pauses):
        await asyncio.sleep(0)
    task.cancel()
    (outcome,) = await asyncio.gather(task, return_exceptions=True)
    assert not isinstance(outcome, Exception)


async def race(number: int, *steps: Coroutine[object, object, object]) -> list[bool]:
    """Take the steps at once, started in turn from either end; which were taken, in the order given."""
    order = steps if number % 2 else steps[::-1]
    taken = await asyncio.gather(*map(done, order))
    return taken if number % 2 else taken[::-1]


async def eventually(proof: Callable[[], Awaitable[None]]) -> None:
    """Prove something that may become true a little later: a cancelled call may still be made."""
    for _ in range(500):
        try:
            return await proof()
        except AssertionError:
            await asyncio.sleep(0.01)
    return await proof()
