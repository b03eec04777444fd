"""What a registry says about how to log in: the headers WWW-Authenticate (RFC 9110, 11.6.1)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - a token of the grammar
_PART = re.compile(rf'[\s,]*({_TOKEN})(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_TOKEN})))?')
_ESCAPED = re.compile(r"\\(.)")


class Challenge(msgspec.Struct, frozen=True):
    """One way to log in: its scheme and the names of its parameters are in lower case."""

    scheme: str
    parameters: dict[str, str]


def parse_challenges(lines: Iterable[str]) -> list[Challenge]:
    """The challenges of the lines of a header. What is of no grammar ends what is read of a line."""
    found: list[Challenge] = []
    for line in lines:
        position = 0
        while (part := _PART.match(line, position)) is not None:
            position = part.end()
            name, quoted, bare = part.groups()
            if quoted is None and bare is None:
                found.append(Challenge(name.lower(), {}))
            elif found:
                found[-1].parameters[name.lower()] = bare or _ESCAPED.sub(r"\1", quoted)
    return found


def choose(challenges: Iterable[Challenge]) -> Challenge | None:
    """The one to follow: Bearer where there is a choice; None where none is known here."""
    known = {each.scheme: each for each in challenges}
    return known.get("bearer") or known.get("basic")
