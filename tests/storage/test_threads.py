"""Calls in threads: each is made once and waited for, whatever becomes of who waits."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from functools import partial
from typing import TYPE_CHECKING

import pytest

from cargohold.storage import threads as threads_module
from cargohold.storage.threads import Threads, waiting
from tests.http.serving import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.usefixtures("loop")

PATIENCE = 10.0


@pytest.fixture
def threads() -> Iterator[Threads]:
    """Two of them."""
    made = Threads(2, "tried")
    yield made
    made.close()


async def test_result(threads: Threads) -> None:
    """A call gives what its function gives, and raises what that raises; it is made in one of the threads."""
    names = {await threads.run(lambda: threading.current_thread().name) for _ in range(20)}
    assert names <= {"tried_0", "tried_1"}
    for error in (OSError(5, "broken"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as raised:
            await threads.run(_raising(error))
        assert raised.value is error


def _raising(error: BaseException) -> Callable[[], None]:
    def function() -> None:
        raise error

    return function


async def test_order_and_number(threads: Threads) -> None:
    """Of many calls each is made once, no more at a time than there are threads, and those that wait in their order."""
    begun: list[int] = []
    at_once, lock = [0, 0], threading.Lock()

    def call(number: int) -> int:
        with lock:
            begun.append(number)
            at_once[0] += 1
            at_once[1] = max(at_once)
        threading.Event().wait(0.001)
        with lock:
            at_once[0] -= 1
        return number

    given = await asyncio.gather(*(threads.run(partial(call, number)) for number in range(200)))
    assert given == list(range(200))
    assert sorted(begun) == list(range(200))
    assert all(abs(place - number) <= 2 for place, number in enumerate(begun))
    assert at_once[1] == 2


@pytest.fixture
def frugal() -> Iterator[Threads]:
    """Three of them, of which one is enough while nothing waits."""
    made = Threads(3, "frugal", frugal=True)
    yield made
    made.close()


async def test_frugal(frugal: Threads, monkeypatch: pytest.MonkeyPatch) -> None:
    """While calls do not wait for the disk, or for a moment alone, one is made after another, in their order."""
    # On a busy machine a thread may have to wait for its turn as long as one that is stuck.
    monkeypatch.setattr(threads_module, "_STUCK", PATIENCE)
    made, at_once = list[int](), list[int]()

    def call(number: int) -> None:
        at_once.append(number)
        with waiting(0.0009):
            threading.Event().wait(0.0009)
            assert at_once == [number]
        made.append(at_once.pop())

    await asyncio.gather(*(frugal.run(partial(call, number)) for number in range(300)))
    assert made == list(range(300))


async def test_frugal_that_wait(frugal: Threads, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls that wait for the disk do so side by side, as many as there are threads; then one is enough again."""
    together = threading.Barrier(3)

    def call() -> int:
        with waiting(0.001):
            return together.wait(PATIENCE)

    async with asyncio.timeout(PATIENCE):
        assert sorted(await asyncio.gather(*(frugal.run(call) for _ in range(9)))) == [
            0,
            0,
            0,
            1,
            1,
            1,
            2,
            2,
            2,
        ]
    await test_frugal(frugal, monkeypatch)


async def test_frugal_that_are_stuck(frugal: Threads, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that takes long and does not say so keeps no other one waiting, and all threads but one may be so."""
    may = threading.Event()
    stuck = [asyncio.ensure_future(frugal.run(partial(may.wait, PATIENCE))) for _ in range(2)]
    for _ in range(5):
        async with asyncio.timeout(PATIENCE):
            assert await asyncio.gather(*(frugal.run(int) for _ in range(20))) == [0] * 20
    assert not any(call.done() for call in stuck)
    may.set()
    assert await asyncio.gather(*stuck) == [True, True]
    await test_frugal(frugal, monkeypatch)


async def test_many_short_ones(threads: Threads) -> None:
    """No call is forgotten, however the threads come to the end of their work."""
    for _ in range(300):
        async with asyncio.timeout(PATIENCE):
            assert await asyncio.gather(*(threads.run(int) for _ in range(5))) == [0] * 5
        async with asyncio.timeout(PATIENCE):
            assert await threads.run(int) == 0


async def test_cancelled(threads: Threads) -> None:
    """Who is cancelled waits for the end of the call, and is cancelled then, also where the call fails."""
    for error in (None, OSError(5, "broken")):
        may, has_ended = threading.Event(), list[bool]()

        def call(
            may: threading.Event = may, has_ended: list[bool] = has_ended, error: OSError | None = error
        ) -> None:
            assert may.wait(PATIENCE)
            has_ended.append(True)
            if error is not None:
                raise error

        running = asyncio.ensure_future(threads.run(call))
        for _ in range(3):
            await asyncio.sleep(0.01)
            running.cancel()
        await asyncio.sleep(0.01)
        assert not running.done()
        may.set()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert has_ended == [True]


def test_a_loop_that_has_ended(threads: Threads) -> None:
    """A call whose loop has been closed meanwhile comes to its end, and the threads serve the next loop."""
    may, has_ended = threading.Event(), threading.Event()

    def call() -> None:
        assert may.wait(PATIENCE)
        has_ended.set()

    ended = asyncio.new_event_loop()

    async def begin() -> None:
        ended.call_soon(ended.stop)
        await threads.run(call)

    begun = ended.create_task(begin())
    ended.run_forever()
    ended.close()
    may.set()
    assert has_ended.wait(PATIENCE)
    assert asyncio.run(threads.run(int)) == 0
    assert not begun.done()
    begun.get_coro().close()


async def test_nothing_is_kept(threads: Threads) -> None:
    """What a call was given, and its error, is let go of without the help of the collector of cycles."""

    class Given:
        pass

    gc.disable()
    try:
        for error in (None, OSError(5, "broken")):
            given = Given()
            kept = weakref.ref(given)

            def call(given: Given = given, error: OSError | None = error) -> None:
                assert given
                if error is not None:
                    raise error.with_traceback(None)

            try:
                await threads.run(call)
            except OSError as raised:
                raised.__traceback__ = None
            del call, given, error
            # The thread that made the call lets go of it when it looks for the next one.
            await asyncio.to_thread(until, lambda kept=kept: kept() is None, PATIENCE)
    finally:
        gc.enable()


async def test_closed() -> None:
    """Closing waits for the calls that there are; after that none is taken."""
    threads = Threads(1, "closed")
    may, ended = threading.Event(), list[bool]()
    calls = [asyncio.ensure_future(threads.run(lambda: ended.append(may.wait(PATIENCE)))) for _ in range(3)]
    await asyncio.sleep(0.01)
    may.set()
    await asyncio.to_thread(threads.close)
    assert ended == [True] * 3
    await asyncio.gather(*calls)
    with pytest.raises(RuntimeError):
        await threads.run(int)
