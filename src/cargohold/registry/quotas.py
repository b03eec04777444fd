"""Quotas: what is said to who would store more than there is room for."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from cargohold.storage.protocols import OverQuota
from cargohold.types.errors import Denied

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def within_quotas() -> Iterator[None]:
    """Raises Denied, which says how much of which quota is used, where the block would store too much."""
    try:
        yield
    except OverQuota as over:
        raise _denied(over) from None


def _denied(over: OverQuota) -> Denied:
    quota = over.quota
    return Denied(
        f"{over}; make room there, or ask for a larger quota",
        detail={"quota": quota.repository, "allowed": quota.bytes, "used": over.used, "needed": over.more},
    )
