"""What recurs is told from what comes once."""

from __future__ import annotations

from cargohold.types.recurring import Recurring


def test_what_came_before() -> None:
    """A key is known from the second time on, whatever kind it has."""
    recurring = Recurring()
    for key in (b"a", ("GET", "/v2/"), 4096):
        recurring.has(key)
        assert recurring.has(key)
        assert recurring.has(key)


def test_what_comes_once() -> None:
    """Of ever new keys hardly one is taken for an old one, and those of long ago are forgotten."""
    recurring = Recurring()
    assert sum(recurring.has(f"key {number}") for number in range(100_000)) < 1000
    assert sum(recurring.has(f"key {number}") for number in range(1000)) < 30
