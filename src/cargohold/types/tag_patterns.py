"""Patterns of tags: `*` is any number of characters, none included, and `?` is one. A tag is matched whole."""

from __future__ import annotations

import re
from fnmatch import translate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_PATTERN = re.compile(r"[A-Za-z0-9_.*?-]{1,128}")


def check_tag_pattern(text: str) -> None:
    """Raises ValueError where it is no pattern of tags."""
    if not _PATTERN.fullmatch(text):
        raise ValueError(
            f"{text!r} is no pattern of tags: write at most 128 letters, digits, '.', '_', '-', '*' and '?', such as"
            " v* or latest"
        )


def compile_tag_patterns(texts: Iterable[str]) -> Callable[[str], str | None]:
    """What gives the first pattern that a tag matches, None where it matches none.

    Raises ValueError where one is no pattern of tags.
    """
    texts = tuple(texts)
    for text in texts:
        check_tag_pattern(text)
    compiled = [(text, re.compile(translate(text)).match) for text in texts]

    def first(tag: str) -> str | None:
        return next((text for text, match in compiled if match(tag)), None)

    return first
