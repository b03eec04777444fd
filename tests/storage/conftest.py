"""Tests that are coroutines run in one event loop with the fixtures that opened their store."""

from __future__ import annotations

import asyncio
import inspect
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from cargohold.storage.filesystem import FilesystemStore
from tests.collection.images import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIMIT = 120  # seconds, for one test


@pytest.fixture
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FilesystemStore]:
    """A store of one process."""
    with closing(FilesystemStore(str(tmp_path / "root"))) as made:
        made.prepare()
        yield made


@pytest.fixture
def collectable(tmp_path: Path) -> Iterator[FilesystemStore]:
    """A store of which nothing can be restored, so that a collection takes all that nothing needs."""
    with closing(open_store(tmp_path / "data")) as made:
        made.prepare()
        yield made


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in inspect.signature(pyfuncitem.obj).parameters}
    runner = pyfuncitem.funcargs["loop"]
    assert isinstance(runner, asyncio.Runner)
    runner.run(asyncio.wait_for(pyfuncitem.obj(**arguments), LIMIT))
    return True
