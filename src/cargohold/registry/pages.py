"""A page of a list, and whether more follows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence


class Listed(msgspec.Struct, frozen=True):
    """A page; `more` says that entries follow after its last, `n` how long a page was asked for."""

    entries: list[str]
    n: int
    more: bool


def asked_of_store(n: int) -> int:
    """How many to ask a store for, so as to know whether more follow; none where none are wanted."""
    return n + 1 if n else 0


def cut(found: Sequence[str], n: int) -> Listed:
    """A page of at most `n` from what the store found."""
    return Listed(list(found[:n]), n, len(found) > n)
