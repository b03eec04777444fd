"""Which media types a client takes (RFC 9110, 12.5.1).

A registry does not choose among forms of a manifest, it has one. So of the weights it matters only whether
they are zero.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

# No part of a text can match these in two ways: the time that they take grows as its length does.
# Possessive are only repetitions of one character: those of groups go wrong in Python before 3.11.5.
_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_QUOTED = r'"[^"\\]*+(?:\\.[^"\\]*+)*"'
_MEMBER = re.compile(r'(?:[^,"]|"[^"\\]*+(?:\\.[^"\\]*+)*(?:"|\\?\Z))+', re.DOTALL)
_RANGE = re.compile(rf"[ \t]*+(?:(\*)(?:/\*)?|(?!\*/)({_NAME}/{_NAME}))[ \t]*+(?=;|\Z)")
_PARAMETER = re.compile(rf";[ \t]*+(?:({_NAME})(?:=({_NAME}|{_QUOTED}))?)?[ \t]*+", re.DOTALL)
_WEIGHT = re.compile(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+")

_LONGEST_KEPT = 2048
_ANYTHING = "*/*"


class Accept(msgspec.Struct, frozen=True):
    """The `Accept` lines of one request: for each media range, whether it is taken (a weight above zero)."""

    ranges: Mapping[str, bool]

    @classmethod
    def parse(cls, lines: Sequence[str]) -> Accept:
        """What the lines say together. Malformed members do not count; never raises.

        A lone `*` and weights such as `.2`, which old Java clients send, are understood.
        """
        if not lines:
            return _NO_LINES
        if len(lines) == 1 and len(lines[0]) < _LONGEST_KEPT:
            return _parse_one(lines[0])
        kept = sum(map(len, lines)) < _LONGEST_KEPT
        return (_parse if kept else _parse.__wrapped__)(tuple(lines))

    def allows(self, media_type: str) -> bool:
        """Whether the client takes that type; the most specific range that matches decides.

        Where no range was given, anything is taken. `application/json` matches the types that end in `+json`.
        """
        if not self.ranges:
            return True
        if self.ranges.get(media_type):  # the most specific range there can be
            return True
        for media_range in _matching(media_type):
            taken = self.ranges.get(media_range)
            if taken is not None:
                return taken
        return False


_NO_LINES = Accept({})


@lru_cache(maxsize=64)  # there are few types of manifests
def _matching(media_type: str) -> Sequence[str]:
    """The ranges that match a type, the most specific first."""
    media_type = media_type.lower()
    kind, _, subtype = media_type.partition("/")
    if kind == "application" and subtype.endswith("+json"):
        return media_type, "application/json", f"{kind}/*", _ANYTHING
    return media_type, f"{kind}/*", _ANYTHING


@lru_cache(maxsize=256)  # a client sends the same lines with every request
def _parse(lines: tuple[str, ...]) -> Accept:
    ranges: dict[str, bool] = {}
    for line in lines:
        for member in _MEMBER.findall(line):
            name, taken = _read(member)
            if name:
                ranges[name] = taken or ranges.get(name, False)
    return Accept(ranges)


@lru_cache(maxsize=256)
def _parse_one(line: str) -> Accept:
    """A single line, which is found again without being put into anything."""
    return _parse.__wrapped__((line,))


def _read(member: str) -> tuple[str, bool]:
    """The range in lower case, and whether its weight is above zero; no range in a malformed member."""
    found = _RANGE.match(member)
    if found is None:
        return "", False
    weight, position = None, found.end()
    while position < len(member):
        parameter = _PARAMETER.match(member, position)
        if parameter is None:
            return "", False
        if weight is None and parameter[1] in ("q", "Q"):
            weight = parameter[2] or ""
        position = parameter.end()
    if weight is None:
        weight = "1"
    elif _WEIGHT.fullmatch(weight) is None:
        return "", False
    return _ANYTHING if found[1] else found[2].lower(), weight.strip("0.") != ""
