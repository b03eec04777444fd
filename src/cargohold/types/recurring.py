"""What comes again, told from what comes once: only the first is worth the memory that it takes to be remembered.

Where very many things are asked for in turn, to remember each costs more than to find it out again: what was
remembered before it has to be thrown away, and is no longer in the processor's cache when it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Hashable

_MOST: Final = 2048


class Recurring:
    """Knows of the last thousand keys or two whether they came before, by their hashes: in 200 KiB at most.

    Those of two keys may be the same, once in a lifetime. For one thread.
    """

    __slots__ = ("_hashes",)

    def __init__(self) -> None:
        self._hashes = set[int]()

    def has(self, key: Hashable) -> bool:
        """Whether it came before; the next time it did."""
        number, hashes = hash(key), self._hashes
        if number in hashes:
            return True
        if len(hashes) >= _MOST:
            hashes.clear()
        hashes.add(number)
        return False
