"""JSON with the place of each key and entry: what the standard library has found to be valid is scanned for them."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from cargohold.config.document import Document, Lines, Unreadable, too_many_digits

if TYPE_CHECKING:
    from cargohold.config.places import Mark

# Of valid JSON: strings, signs, and whatever else is a value.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')


def read_json(text: str) -> Document:
    """Raises Unreadable."""
    try:
        tree = json.loads(text)
    except json.JSONDecodeError as error:
        raise Unreadable(error.msg, (error.lineno, error.colno)) from None
    except ValueError as error:
        raise too_many_digits(text) or Unreadable(str(error)) from None
    document = Document(tree)
    _scan(text, document)
    return document


def _scan(text: str, document: Document) -> None:
    lines = Lines(text)
    opened: list[str] = []
    keys: list[object] = []  # one for each bracket that is open
    key_next = False

    def found(mark: Mark) -> None:
        where = tuple(keys)
        if where in document.marks:
            document.twice.append((where, mark))
        else:
            document.marks[where] = mark

    for match in _TOKEN.finditer(text):
        sign = match[0]
        if sign in ("}", "]"):
            opened.pop()
            keys.pop()
        elif sign == ",":
            key_next = opened[-1] == "{"
        elif sign == ":":
            key_next = False
        elif key_next:
            keys[-1] = json.loads(sign)
            found(lines.mark(match.start()))
        else:
            if opened and opened[-1] == "[":
                keys[-1] = _following(keys[-1])
                found(lines.mark(match.start()))
            if sign in ("{", "["):
                opened.append(sign)
                keys.append(None)
                key_next = sign == "{"


def _following(number: object) -> int:
    return number + 1 if isinstance(number, int) else 0
