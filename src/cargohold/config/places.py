"""Where settings are written, and what is wrong with them there."""

from typing import Literal

import msgspec

from cargohold.types.text import printable

Mark = tuple[int, int]
"""A line and a column, both from 1."""

Keys = tuple[object, ...]
"""What leads to a value inside of others: keys of mappings, and numbers of entries from 0."""


class Place(msgspec.Struct, frozen=True):
    """Where something was written.

    `source` is the file's name, the variable's, or "command line"; `setting` what the source names by itself.
    """

    kind: Literal["file", "variable", "option"]
    source: str
    mark: Mark | None = None
    setting: str = ""

    def __str__(self) -> str:
        at = "" if self.mark is None else f":{self.mark[0]}:{self.mark[1]}"
        return printable(self.source + at)


class Problem(msgspec.Struct, frozen=True):
    """What is wrong, and what to write instead, on one line: where, of which setting ("" where of none), and what."""

    setting: str
    message: str
    place: Place | None = None

    def __str__(self) -> str:
        named = self.place is not None and self.place.setting == self.setting
        parts = [self.place, None if named else self.setting, self.message]
        return printable(": ".join(str(part) for part in parts if part))


class Fault(msgspec.Struct, frozen=True):
    """A problem of settings as they are in effect, wherever they came from.

    `concerns` are other settings that it comes from, the first of which that was given says where; `within` leads to
    the part of the setting's value that is meant. `needs` are further settings that must be known for it to be one.
    """

    setting: str
    message: str
    concerns: tuple[str, ...] = ()
    within: Keys = ()
    needs: tuple[str, ...] = ()
