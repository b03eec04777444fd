"""What the contract says of trials."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.storage.contract.base import ONE, Contract, blob, push

if TYPE_CHECKING:
    from cargohold.storage.protocols import Store


class TrialContract(Contract):
    """`Trial`."""

    async def test_trials(self, store: Store, second: Store) -> None:
        """A store that can be used is said to be so, to every process, as often as asked, and is as it was."""
        digest = await push(store, ONE, b"content")
        for each in (store, second) * 2:
            await each.try_reading()
            await each.try_writing()
        assert await blob(second, ONE, digest) == b"content"
