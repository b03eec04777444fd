"""Files of settings: each language to one tree, with the place of each key and entry in the file."""

from __future__ import annotations

import bisect
import re
import sys
from typing import TYPE_CHECKING

import msgspec

from cargohold.config.places import Keys, Mark
from cargohold.storage.files import read_whole

if TYPE_CHECKING:
    from collections.abc import Callable

LANGUAGES = {".yaml": "YAML", ".yml": "YAML", ".toml": "TOML", ".json": "JSON"}


class Document(msgspec.Struct):
    """What a file holds.

    `marks` has where each key of a mapping stands, and where each entry of a list begins; what a YAML alias stands for
    has those of its first use alone. `twice` has the keys that stand twice in a mapping, and where the second is.
    """

    tree: object
    marks: dict[Keys, Mark] = {}
    twice: list[tuple[Keys, Mark]] = []

    def mark(self, keys: Keys) -> Mark:
        """Where it stands, or what it is in."""
        while keys and keys not in self.marks:
            keys = keys[:-1]
        return self.marks.get(keys, (1, 1))


class Unreadable(Exception):
    """Why a file is no document, and where in it, where that is known."""

    def __init__(self, message: str, mark: Mark | None = None) -> None:
        super().__init__(message)
        self.mark = mark


class Lines:
    """Offsets of a text as lines and columns."""

    def __init__(self, text: str) -> None:
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def mark(self, offset: int) -> Mark:
        """The line and the column, in characters, both from 1."""
        line = bisect.bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1


def too_many_digits(text: str) -> Unreadable | None:
    """Where a number stands that has more digits than Python reads, if one does."""
    found = re.search(rf"[0-9_]{{{sys.get_int_max_str_digits()},}}", text)
    return (
        None if found is None else Unreadable("a number has too many digits", Lines(text).mark(found.start()))
    )


def read_document(name: str, language: str | None = None) -> Document:
    """The file, in the language that its suffix names where none is given. Raises Unreadable."""
    language = language or LANGUAGES.get(name[name.rfind(".") :].lower())
    if language is None:
        raise Unreadable(f"must end in {', '.join(LANGUAGES)}, which says how it is written")
    try:
        content, _ = read_whole(name)
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise Unreadable(f"cannot be read: {error}") from None
    try:
        return _reader(language)(_decoded(content))
    except RecursionError:
        raise Unreadable("is nested too deep") from None
    except Unreadable as error:
        raise Unreadable(f"is not {language}: {error}", error.mark) from None


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8-sig")
        raise Unreadable("its bytes are not UTF-8", Lines(before).mark(len(before))) from None


def _reader(language: str) -> Callable[[str], Document]:
    """Imported only where such a file is read: PyYAML costs megabytes."""
    if language == "YAML":
        from cargohold.config.document_yaml import read_yaml as reader  # noqa: PLC0415
    elif language == "TOML":
        from cargohold.config.document_toml import read_toml as reader  # noqa: PLC0415
    else:
        from cargohold.config.document_json import read_json as reader  # noqa: PLC0415
    return reader
