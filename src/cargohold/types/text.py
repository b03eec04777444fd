"""What others have written, as it may be shown."""

from __future__ import annotations


def printable(text: str) -> str:
    """On one line, without what would command a terminal or move other characters: such ones as Python writes them."""
    return text if text.isprintable() else "".join(map(_shown, text))


def _shown(character: str) -> str:
    return character if character.isprintable() else repr(character)[1:-1]
