"""What others have written, as it may be shown."""

from __future__ import annotations

import json

import pytest

from cargohold.types.text import printable, printable_json


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


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain \u2603 é ß", '"plain \u2603 é ß"'),
        ("a\x7f\x9b\u202e", r'"a\u007f\u009b\u202e"'),
        ("\U000e0041 \U0001f600", '"\\udb40\\udc41 \U0001f600"'),
    ],
)
def test_printable_json(text: str, shown: str) -> None:
    """In JSON it is an escape, and the value stays the same."""
    written = printable_json(json.dumps(text, ensure_ascii=False))
    assert (written, json.loads(written)) == (shown, text)
