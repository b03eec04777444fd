from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest

from cargohold.registry import readiness
from cargohold.registry.readiness import FULL, SILENT, STOPPING, UNREADABLE, UNWRITABLE, Readiness
from cargohold.storage.memory import MemoryStore
from cargohold.storage.protocols import Full, StoreError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

SECRET_PATH = "/srv/private"


class Ailing(MemoryStore):
    """A store that cannot be read or written to, as is set, and counts how often that was tried."""

    def __init__(self) -> None:
        super().__init__()
        self.reading: StoreError | None = None
        self.writing: StoreError | None = None
        self.answers = asyncio.Event()
        self.answers.set()
        self.tried = 0

    async def try_reading(self) -> None:
        self.tried += 1
        await self.answers.wait()
        if self.reading is not None:
            raise self.reading

    async def try_writing(self) -> None:
        if self.writing is not None:
            raise self.writing


@pytest.fixture(autouse=True)
def _always_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "FRESH_SECONDS", 0.0)


def run(case: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(case, 20))


@pytest.mark.parametrize(
    ("reading", "writing", "writes", "expected"),
    [
        (None, None, True, None),
        (Unavailable(SECRET_PATH), None, True, UNREADABLE),
        (Full(SECRET_PATH), None, True, UNREADABLE),
        (None, Unavailable(SECRET_PATH), True, UNWRITABLE),
        (None, Full(SECRET_PATH), True, FULL),
        (None, Full(SECRET_PATH), False, None),
        (Unavailable(SECRET_PATH), None, False, UNREADABLE),
    ],
)
def test_the_obstacle_is_named(
    reading: StoreError | None, writing: StoreError | None, writes: bool, expected: str | None
) -> None:
    """What is in the way is told, without what the system said of it; writing counts where there is any."""

    async def case() -> None:
        store = Ailing()
        store.reading, store.writing = reading, writing
        assert await Readiness(store, writes=writes).obstacle() == expected

    run(case())


def test_a_change_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """The log has what the system said, once for each change and not for each question."""

    async def case() -> None:
        store = Ailing()
        asked = Readiness(store, writes=True)
        for trouble in (None, Unavailable(SECRET_PATH), None):
            store.reading = trouble
            for _ in range(3):
                await asked.obstacle()

    with caplog.at_level(logging.WARNING):
        run(case())
    assert [record.getMessage() for record in caplog.records] == [
        f"not ready: {UNREADABLE}: {SECRET_PATH}",
        "ready again: the storage can be used",
    ]


def test_a_silent_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial that does not end is waited for so long, by all together; after that nobody waits, until it does."""
    monkeypatch.setattr(readiness, "PATIENCE_SECONDS", 0.2)

    async def case() -> None:
        store = Ailing()
        store.answers.clear()
        asked = Readiness(store, writes=True)
        assert await asyncio.gather(*(asked.obstacle() for _ in range(100))) == [SILENT] * 100
        monkeypatch.setattr(readiness, "PATIENCE_SECONDS", 0.0)
        assert await asked.obstacle() == SILENT
        assert store.tried == 1
        store.answers.set()
        monkeypatch.setattr(readiness, "PATIENCE_SECONDS", 20.0)
        assert await asked.obstacle() is None
        assert await asked.obstacle() is None
        assert store.tried == 2

    run(case())


def test_a_trial_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """All who ask within a second or so share a trial: many who ask do not make many."""
    monkeypatch.setattr(readiness, "FRESH_SECONDS", 60.0)

    async def case() -> None:
        store = Ailing()
        asked = Readiness(store, writes=True)
        for _ in range(3):
            await asyncio.gather(*(asked.obstacle() for _ in range(100)))
        assert store.tried == 1

    run(case())


def test_stopping() -> None:
    """From the stop on nobody is to come, whatever the storage says; who waits for that is told so too."""

    async def case() -> None:
        store = Ailing()
        store.answers.clear()
        asked = Readiness(store, writes=True)
        waiting = asyncio.create_task(asked.obstacle())
        await asyncio.sleep(0)
        asked.leave()
        assert await asked.obstacle() == STOPPING
        store.answers.set()
        assert await waiting == STOPPING

    run(case())
