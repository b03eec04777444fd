"""The descriptors of an `index.json`, one after the other: a layout of a whole registry has very many."""

from __future__ import annotations

import codecs
import json
from typing import TYPE_CHECKING, Any, Final

from cargohold.storage.archive.tar import ArchiveInvalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_ENOUGH: Final = 64 << 10
_LONGEST: Final = 1 << 20
_BLANKS: Final = " \t\r\n"


def read_descriptors(pieces: Iterable[bytes]) -> Iterator[Any]:
    """The values in `manifests`, as they are in the JSON object that the pieces make up.

    Raises ArchiveInvalid where it is no such object, where `manifests` is there twice or not at all, or where one
    value, there or in another member, is longer than 1 MiB, since one of brackets alone takes thirty times
    its length of memory.
    """
    text = _Text(pieces)
    text.expect("{")
    found, has_more = False, not text.next_is("}")
    while has_more:
        key = text.value()
        if not isinstance(key, str):
            raise ArchiveInvalid("index.json is no JSON: a name is missing")
        text.expect(":")
        if key != "manifests":
            text.value()
        elif found:
            raise ArchiveInvalid("index.json has manifests twice")
        else:
            found = True
            yield from _array(text)
        has_more = text.takes(",")
    text.expect("}")
    if not text.is_over():
        raise ArchiveInvalid("index.json goes on after its end")
    if not found:
        raise ArchiveInvalid("index.json has no manifests")


def _array(text: _Text) -> Iterator[Any]:
    if not text.takes("["):
        if text.value() is not None:
            raise ArchiveInvalid("the manifests of index.json are no list")
        return
    has_more = not text.next_is("]")
    while has_more:
        yield text.value()
        has_more = text.takes(",")
    text.expect("]")


class _Text:
    """JSON that comes in pieces, of which only what is being read is in memory."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._text = ""
        self._place = 0
        self._at_end = False

    def next_is(self, mark: str) -> bool:
        """Whether this character is the next that is no blank."""
        self._skip()
        return self._text.startswith(mark, self._place)

    def takes(self, mark: str) -> bool:
        """Pass over this character, if it is the next; whether it was."""
        is_next = self.next_is(mark)
        self._place += is_next
        return is_next

    def expect(self, mark: str) -> None:
        """Pass over this character. Raises ArchiveInvalid where another one is next."""
        if not self.takes(mark):
            found = self._text[self._place : self._place + 20]
            raise ArchiveInvalid(f"index.json is no JSON: {mark!r} is missing before {found!r}")

    def is_over(self) -> bool:
        """Whether nothing but blanks is left."""
        self._skip()
        return self._place == len(self._text)

    def value(self) -> Any:  # noqa: ANN401 - what JSON may hold
        """The next value."""
        self._skip()
        wanted = _ENOUGH
        while True:
            self._fill(wanted)
            try:
                value, end = _DECODER.raw_decode(self._text, self._place)
            except RecursionError:
                raise ArchiveInvalid("index.json is nested too deeply") from None
            except ValueError as error:
                if self._at_end or wanted >= _LONGEST:
                    raise ArchiveInvalid(
                        f"index.json is no JSON, or too long in one place: {error}"
                    ) from None
            else:
                # A number at the end of what is at hand may go on.
                if end < len(self._text) or self._at_end:
                    self._place = end
                    return value
            wanted *= 4

    def _skip(self) -> None:
        while True:
            self._fill(1)
            if self._place == len(self._text) or self._text[self._place] not in _BLANKS:
                return
            self._place += 1

    def _fill(self, wanted: int) -> None:
        """Have at least so many characters at hand, if there are as many."""
        while not self._at_end and len(self._text) - self._place < wanted:
            piece = next(self._pieces, b"")
            self._at_end = not piece
            try:
                more = self._decoder.decode(piece, final=self._at_end)
            except UnicodeDecodeError as error:
                raise ArchiveInvalid(f"index.json is not in UTF-8: {error.reason}") from None
            self._text = self._text[self._place :] + more
            self._place = 0


_DECODER: Final = json.JSONDecoder()
