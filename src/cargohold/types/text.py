"""What others have written, as it may be shown."""

from __future__ import annotations

import re
from typing import Final

_UNUSUAL: Final = re.compile(r"[^ -~]")


def printable(text: str) -> str:
    """On one line, without what would command a terminal or move other characters: such ones as Python writes them."""
    return text if text.isprintable() else "".join(map(_shown, text))


def printable_json(text: str) -> str:
    """The same for JSON without white space but blanks, which stays JSON of the same value.

    Outside of its texts it has nothing beyond ASCII, and in them any character may be an escape.
    """
    return _UNUSUAL.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    character = found[0]
    if character.isprintable():
        return character
    return re.sub("....", r"\\u\g<0>", character.encode("utf-16-be").hex())


def _shown(character: str) -> str:
    return character if character.isprintable() else repr(character)[1:-1]
