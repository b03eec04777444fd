"""A coroutine that runs at once as far as it can, and the rest of it in a task."""

from __future__ import annotations

from asyncio.tasks import _enter_task, _leave_task
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Coroutine, Generator
    from contextvars import Context

T = TypeVar("T")


def begin(coroutine: Coroutine[Any, Any, T], task: asyncio.Task[Any], context: Context) -> T | Begun[T]:
    """Run a coroutine as far as it goes without a wait: its result, or what is left, for the task to await.

    The task is one that waits, and the context its own. To wake it would take longer than many a coroutine does. An
    error of the coroutine is left to the task too.
    """
    loop = task.get_loop()
    # What asks for its task is told of the one that does the rest (the standard library, "asyncio: Extending").
    _enter_task(loop, task)
    try:
        return Begun(coroutine, waits_for=context.run(coroutine.send, None))
    except StopIteration as ended:
        return cast("T", ended.value)
    except BaseException as error:  # noqa: BLE001 - raised where it is awaited
        return Begun(coroutine, error=error)
    finally:
        _leave_task(loop, task)


class Begun(Generic[T]):
    """What is left of a coroutine that has been begun, to be awaited once."""

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, T],
        *,
        waits_for: object = None,
        error: BaseException | None = None,
    ) -> None:
        self._coroutine = coroutine
        self._waits_for = waits_for
        self._error = error

    def __await__(self) -> Generator[Any, Any, T]:
        """Run the rest: its result, or what it raises."""
        if self._error is not None:
            raise self._error
        waits_for = self._waits_for
        while True:
            try:
                step = partial(self._coroutine.send, (yield waits_for))
            except BaseException as error:  # noqa: BLE001 - a cancellation is the coroutine's own matter
                step = partial(self._coroutine.throw, error)
            try:
                waits_for = step()
            except StopIteration as ended:
                return cast("T", ended.value)
