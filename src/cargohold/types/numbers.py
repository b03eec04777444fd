"""Whole numbers as clients write them."""

from __future__ import annotations

_MOST_DIGITS = 18
_BEYOND_EVERY_SIZE = 2**63


def whole_number(digits: str) -> int:
    """The number that ASCII digits, at least one, write; 2**63 where it has more than 18 digits.

    Python takes its time over long numbers, and refuses the longest; nothing is as large or as many as they are.
    """
    significant = digits.lstrip("0") or "0"
    return int(significant) if len(significant) <= _MOST_DIGITS else _BEYOND_EVERY_SIZE
