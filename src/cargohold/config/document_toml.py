"""TOML with the place of each key and entry: what the standard library has found to be valid is scanned for them."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING

from cargohold.config.document import Document, Lines, Unreadable, too_many_digits

if TYPE_CHECKING:
    from cargohold.config.places import Keys, Mark

_AT = re.compile(r" \(at line ([0-9]+), column ([0-9]+)\)")
_AT_END = " (at end of document)"
_OF_A_KEY = re.compile(
    "Cannot (?:overwrite|declare|mutate)|Duplicate"
)  # said behind its value, or its header

# Of valid TOML.
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_KEY = re.compile(r"""[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'""")
_DOT = re.compile(r"[ \t]*\.[ \t]*")
_SCALAR = re.compile(
    r'"""(?:[^"\\]|\\.|"{1,2}(?!"))*"{3,5}'
    r"|'''(?:[^']|'{1,2}(?!'))*'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'"
    r"|[^,\]}#\n]+",
    re.DOTALL,
)


def read_toml(text: str) -> Document:
    """Raises Unreadable."""
    lines = Lines(text)
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        at = _AT.search(message)
        mark = (int(at[1]), int(at[2])) if at else lines.mark(len(text))
        if _OF_A_KEY.match(message):
            mark = _Scanner(text, lines).key_before(mark)
        raise Unreadable(_AT.sub("", message).removesuffix(_AT_END), mark) from None
    except ValueError as error:
        raise too_many_digits(text) or Unreadable(str(error)) from None
    return Document(tree, _Scanner(text, lines).marks())


class _Stopped(Exception):
    """The scan has come to where it is to end; the key that it was at begins at `mark`."""

    def __init__(self, mark: Mark) -> None:
        super().__init__()
        self.mark = mark


class _Scanner:
    """Goes once through the text; `_at` is where it is."""

    def __init__(self, text: str, lines: Lines) -> None:
        self._text = text
        self._lines = lines
        self._at = 0
        self._marks: dict[Keys, Mark] = {}
        self._last: dict[Keys, int] = {}  # of each list of tables, the number of its last
        self._stop: Mark | None = None

    def key_before(self, stop: Mark) -> Mark:
        """Where the key begins whose value, or the header that, ends there; the text is valid up to there."""
        self._stop = stop
        try:
            self.marks()
        except _Stopped as stopped:
            return stopped.mark
        return stop

    def marks(self) -> dict[Keys, Mark]:
        """Of a key that is given in several headers, the first counts."""
        table: Keys = ()
        self._skip_blank()
        while self._at < len(self._text):
            if self._text.startswith("[", self._at):
                table = self._header()
            else:
                self._pair(table)
            self._skip_blank()
        return self._marks

    def _header(self) -> Keys:
        begin = self._at
        is_list = self._text.startswith("[[", begin)
        self._at += 2 if is_list else 1
        self._skip_blank()
        begin_key = self._at
        keys = self._key(())
        if is_list:
            self._last[keys] = number = self._last.get(keys, -1) + 1
            keys = (*keys, number)
            self._marks[keys] = self._lines.mark(begin)
        self._at = self._text.index("]", self._at) + (2 if is_list else 1)
        self._stop_at(begin_key)
        return keys

    def _key(self, table: Keys) -> Keys:
        """A dotted key, and with it all tables that it goes through, the last of a list of them."""
        keys = table
        while True:
            part = _KEY.match(self._text, self._at)
            assert part is not None
            keys = (*keys, _unquoted(part[0]))
            self._marks.setdefault(keys, self._lines.mark(self._at))
            self._at = part.end()
            dot = _DOT.match(self._text, self._at)
            if dot is None:
                return keys
            self._at = dot.end()
            if keys in self._last:
                keys = (*keys, self._last[keys])

    def _pair(self, table: Keys) -> None:
        begin = self._at
        keys = self._key(table)
        self._at = self._text.index("=", self._at) + 1
        self._skip_blank()
        self._value(keys)
        self._stop_at(begin)

    def _stop_at(self, begin: int) -> None:
        """Raise _Stopped once what began there has come to where it is to end."""
        if self._stop is not None and self._lines.mark(self._at) >= self._stop:
            raise _Stopped(self._lines.mark(begin))

    def _value(self, keys: Keys) -> None:
        sign = self._text[self._at]
        if sign == "[":
            self._list(keys)
        elif sign == "{":
            self._inline_table(keys)
        else:
            scalar = _SCALAR.match(self._text, self._at)
            assert scalar is not None
            self._at = scalar.end()

    def _list(self, keys: Keys) -> None:
        self._at += 1
        number = 0
        while not self._ends("]"):
            self._marks[*keys, number] = self._lines.mark(self._at)
            self._value((*keys, number))
            number += 1

    def _inline_table(self, keys: Keys) -> None:
        self._at += 1
        while not self._ends("}"):
            self._pair(keys)

    def _ends(self, bracket: str) -> bool:
        """Skip to what follows in a list or table; whether that is its end, which is skipped too."""
        self._skip_blank()
        if self._text[self._at] == ",":
            self._at += 1
            self._skip_blank()
        if self._text[self._at] != bracket:
            return False
        self._at += 1
        return True

    def _skip_blank(self) -> None:
        blank = _BLANK.match(self._text, self._at)
        assert blank is not None
        self._at = blank.end()


def _unquoted(part: str) -> str:
    return str(tomllib.loads(f"key = {part}")["key"]) if part[0] in "\"'" else part
