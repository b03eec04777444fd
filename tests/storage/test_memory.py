"""The memory store keeps the contract."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from cargohold.storage.memory import MemoryStore
from cargohold.types.quotas import Quotas

from .contract import Pair, StoreContract

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cargohold.types.names import RepositoryName, UploadId
    from cargohold.types.quotas import Quota


class TestMemoryStore(StoreContract):
    """One process has it, so there is no second."""

    @asynccontextmanager
    async def opened(self, *quotas: Quota) -> AsyncIterator[Pair]:
        store = MemoryStore(Quotas(quotas))

        def age(repository: RepositoryName, upload: UploadId, seconds: float) -> None:
            store._sessions[repository, upload].grown -= seconds

        yield Pair(store, store, age)
