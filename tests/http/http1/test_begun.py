"""What is begun at once and ended by a task: it sees nothing of that."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from cargohold.http.http1.begun import Begun, begin
from tests.http.http1.running import LOOPS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator

T = TypeVar("T")

NAME: ContextVar[str] = ContextVar("name", default="nobody")


async def _called(function: Callable[[], T]) -> T:
    """What a function gives when the loop calls it, as it calls a protocol: in no task."""
    loop = asyncio.get_running_loop()
    given: asyncio.Future[T] = loop.create_future()
    loop.call_soon(lambda: given.set_result(function()))
    return await given


@pytest.fixture(params=list(LOOPS))
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=LOOPS[request.param]) as made:
        yield made


async def beginning(
    make: Callable[[], Coroutine[Any, Any, str]],
) -> tuple[str | Begun[str], asyncio.Task[str]]:
    """What comes of beginning a coroutine for a task that waits, and that task, which ends what is left."""
    wanted: asyncio.Future[Awaitable[str]] = asyncio.get_running_loop().create_future()

    async def rest() -> str:
        return await (await wanted)

    context = copy_context()
    task = asyncio.get_running_loop().create_task(rest(), context=context)
    await asyncio.sleep(0)
    begun = await _called(lambda: begin(make(), task, context))
    if isinstance(begun, Begun):
        wanted.set_result(begun)
    else:
        task.cancel()
    return begun, task


def test_without_a_wait(runner: asyncio.Runner) -> None:
    """What needs no wait is done when it is begun."""

    async def scenario() -> None:
        async def quick() -> str:
            return "done"

        begun, _ = await beginning(quick)
        assert begun == "done"

    runner.run(scenario())


def test_with_waits(runner: asyncio.Runner) -> None:
    """What waits, at times for nothing, goes on in the task, as the task that it was begun in, with its variables."""

    async def scenario() -> None:
        tasks = set[asyncio.Task[Any] | None]()

        async def slow() -> str:
            NAME.set("somebody")
            for pause in (0, 0.001, 0):
                tasks.add(asyncio.current_task())
                await asyncio.sleep(pause)
            return NAME.get()

        begun, task = await beginning(slow)
        assert isinstance(begun, Begun)
        assert asyncio.current_task() not in tasks
        assert await task == "somebody"
        assert tasks == {task}
        assert NAME.get() == "nobody"

    runner.run(scenario())


@pytest.mark.parametrize("pause", [None, 0.001])
def test_errors(runner: asyncio.Runner, pause: float | None) -> None:
    """An error is raised to the task, however early it comes."""

    async def scenario() -> None:
        async def failing() -> str:
            if pause is not None:
                await asyncio.sleep(pause)
            raise LookupError("lost")

        _, task = await beginning(failing)
        with pytest.raises(LookupError, match="lost"):
            await task

    runner.run(scenario())


def test_a_limit_of_time(runner: asyncio.Runner) -> None:
    """A limit that was set before the first wait holds."""

    async def scenario() -> None:
        async def limited() -> str:
            try:
                async with asyncio.timeout(0.01):
                    await asyncio.Event().wait()
            except TimeoutError:
                return "too late"
            return "in time"

        _, task = await beginning(limited)
        assert await task == "too late"

    runner.run(scenario())


def test_cancelled(runner: asyncio.Runner) -> None:
    """Who cancels the task cancels what was begun, which may do its own before it ends."""

    async def scenario() -> None:
        cleaned = list[str]()

        async def endless() -> str:
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                cleaned.append("all")
            return "never"

        _, task = await beginning(endless)
        await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert cleaned == ["all"]

    runner.run(scenario())
