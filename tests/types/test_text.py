"""What others have written, as it may be shown."""

from __future__ import annotations

import pytest

from cargohold.types.text import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain \u2603 é ß", "plain \u2603 é ß"),
        ("a\x1b[2Jb\n", r"a\x1b[2Jb\n"),
        ("\u202eevil\x9b", r"\u202eevil\x9b"),
    ],
)
def test_printable(text: str, shown: str) -> None:
    """What would command a terminal, or turn a line round, is shown as Python writes it; all else as it is."""
    assert printable(text) == shown
