"""What is asked of a store about how much there is, beside `storage.protocols`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cargohold.storage.protocols import Room, Totals
    from cargohold.storage.runs import Runs
    from cargohold.types.quotas import QuotaUse


class Inventory(Protocol):
    """How much there is."""

    async def totals(self) -> Totals | None:
        """What the store holds, as it was last counted and noted since; None where that is not known.

        Costs the same however much is stored. What another server stored in the same place since the last count is
        not in it, nor what was done by a process that died before it could note it.
        """
        ...

    async def recount(self, age: float) -> bool:
        """Count all that is stored, slowly, unless that was done less than `age` seconds ago; whether it was done.

        One process at a time; False for others. What is stored meanwhile is counted once.
        """
        ...

    async def room(self) -> Room | None:
        """How much more it can hold; None where there is no telling."""
        ...

    async def runs(self) -> Runs | None:
        """What has come of the garbage collector's runs; None where it has none, and where that is not known."""
        ...

    async def quota_use(self) -> Sequence[QuotaUse]:
        """How much is used of each quota, as it was counted a moment ago; of equal ones, only the smallest is told.

        May take long the first time, and costs little when it is asked again. Raises StoreError.
        """
        ...
