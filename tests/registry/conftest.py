from __future__ import annotations

import asyncio
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from cargohold.storage.filesystem import FilesystemStore
from cargohold.storage.memory import MemoryStore
from tests.registry.trashing import Registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["memory", "files"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Registry]:
    with asyncio.Runner() as runner:
        if request.param == "memory":
            yield Registry(MemoryStore(), runner)
            return
        with closing(FilesystemStore(str(tmp_path / "data"))) as store:
            store.prepare()
            yield Registry(store, runner)
