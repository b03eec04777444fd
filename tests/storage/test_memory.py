"""The memory store keeps the contract."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from cargohold.storage.memory import MemoryStore

from .contract import Pair, StoreContract

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cargohold.types.names import RepositoryName, UploadId


class TestMemoryStore(StoreContract):
    """One process has it, so there is no second."""

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Pair]:
        store = MemoryStore()

        def age(repository: RepositoryName, upload: UploadId, seconds: float) -> None:
            store._sessions[repository, upload].grown -= seconds

        yield Pair(store, store, age)
