"""Idle upload sessions are ended in the background, whatever the store says to it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from cargohold.registry.expiry import Expiry
from cargohold.registry.uploads import Uploads
from cargohold.storage.memory import MemoryStore
from cargohold.storage.protocols import Unavailable
from cargohold.types.digest import Algorithm
from cargohold.types.names import RepositoryName

if TYPE_CHECKING:
    import pytest

APP = RepositoryName("app")
TIMEOUT = 0.02


class Store(MemoryStore):
    """Cannot expire anything at its first `failures` calls; `expired` is set when it has ended a session."""

    def __init__(self, failures: int = 0) -> None:
        super().__init__()
        self.calls = 0
        self.expired = asyncio.Event()
        self._failures = failures

    async def expire_uploads(self, idle: float) -> int:
        self.calls += 1
        if self.calls <= self._failures:
            raise Unavailable("the disk is away")
        count = await super().expire_uploads(idle)
        if count:
            self.expired.set()
        return count


def test_idle_sessions_end() -> None:
    """A session that has not grown for the timeout is gone soon after, and after `stop` nothing more is asked."""

    async def case() -> None:
        store = Store()
        expiry = Expiry(store, TIMEOUT)
        expiry.start(asyncio.get_running_loop())
        await Uploads(store).start(APP, Algorithm.SHA256)
        await asyncio.wait_for(store.expired.wait(), 20)
        assert not store._sessions
        expiry.stop()
        calls = store.calls
        await asyncio.sleep(TIMEOUT * 5)
        assert store.calls == calls

    asyncio.run(case())


def test_trouble_does_not_end_it(caplog: pytest.LogCaptureFixture) -> None:
    """What the store cannot do is logged, with its cause, and tried again."""

    async def case() -> None:
        store = Store(failures=3)
        expiry = Expiry(store, TIMEOUT)
        await Uploads(store).start(APP, Algorithm.SHA256)
        expiry.start(asyncio.get_running_loop())
        await asyncio.wait_for(store.expired.wait(), 20)
        expiry.stop()

    with caplog.at_level(logging.ERROR):
        asyncio.run(case())
    assert len(caplog.records) == 3
    assert "the disk is away" in caplog.text


def test_it_can_be_stopped_before_it_was_started() -> None:
    """A server that fails at its start stops all the same."""

    async def case() -> None:
        Expiry(Store(), TIMEOUT).stop()

    asyncio.run(case())
