"""The file of users and their passwords, as Apache's htpasswd writes it: pure, but for reading the file.

A line is `name:hash`; what follows a second colon is not looked at. Blank lines and those that begin with `#` are
comments, and white space around a line is no part of it. UTF-8, with or without a byte order mark; lines end in LF or
CRLF. Of a name that stands twice the first line counts. Hashes are bcrypt's alone.
"""

from __future__ import annotations

import codecs
import re
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

from cargohold.storage.files import read_whole
from cargohold.types.names import check_user_name

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

MAX_BYTES = 16 * 2**20
COSTS = range(4, 18)
"""The costs of bcrypt that are taken, as those that Apache's program writes: one more doubles the time."""
DEFAULT_COST = 10

# The 22nd character of a salt holds two bits of it: with another one bcrypt refuses the hash.
_BCRYPT = re.compile(r"\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}")


class Line(NamedTuple):
    """A user's line: its number, from 1, the name and the hash as it stands there."""

    number: int
    name: str
    hash: str


class Entry(NamedTuple):
    """A user who can log in. `stamp` is another once the password has been changed, and tells nothing of it."""

    hash: bytes
    stamp: str


class Users(NamedTuple):
    """What a file says: who can log in, the highest cost among their hashes, and what is odd about the others."""

    entries: dict[str, Entry]
    cost: int
    oddities: tuple[str, ...]


def read_file(path: str) -> tuple[bytes, os.stat_result]:
    """The file's content, and what it was when it was read.

    Raises OSError, and ValueError where it is no regular file or larger than MAX_BYTES.
    """
    return read_whole(path, MAX_BYTES)


def cost_of(text: str) -> int | None:
    """What a hash costs, as a power of two; None where no password can be checked against it."""
    match = _BCRYPT.fullmatch(text)
    return int(match[1]) if match and int(match[1]) in COSTS else None


def read_line(text: str) -> tuple[str, str] | None:
    """The name and hash of a line; None where it is a comment. Raises ValueError where it is neither."""
    line = text.strip()
    if not line or line.startswith("#"):
        return None
    name, colon, rest = line.partition(":")
    if not colon:
        raise ValueError("it has no colon between a name and a hash")
    check_user_name(name)
    return name, rest.partition(":")[0].strip()


def read_lines(content: bytes) -> Iterator[Line]:
    """The line of each user, in their order. Raises ValueError, which says where the fault is."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"line {number}: it is not UTF-8") from None
    for number, line in enumerate(text.split("\n"), 1):
        try:
            found = read_line(line)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
        if found is not None:
            yield Line(number, *found)


def parse(content: bytes) -> Users:
    """Who can log in. Raises ValueError where the content is no file of users."""
    lines: dict[str, int] = {}
    entries: dict[str, Entry] = {}
    oddities: list[str] = []
    highest = 0
    for number, name, text in read_lines(content):
        if name in lines:
            oddities.append(
                f"line {number} does not count: user {name!r} stands in line {lines[name]} already"
            )
            continue
        lines[name] = number
        cost = cost_of(text)
        if cost is None:
            oddities.append(f"user {name!r} of line {number} cannot log in: {_why(text)}")
            continue
        highest = max(highest, cost)
        entries[name] = Entry(text.encode(), blake2b(text.encode(), digest_size=8).hexdigest())
    return Users(entries, highest or DEFAULT_COST, tuple(oddities))


def with_user(content: bytes, name: str, text: str) -> bytes:
    """The content with this hash as the user's, in the place of the one before or else at the end.

    All other lines stay as they are. Raises ValueError where the content is no file of users.
    """
    return _edited(content, name, f"{name}:{text}")


def without_user(content: bytes, name: str) -> bytes:
    """The content without any line of the user. Raises as `with_user` does."""
    return _edited(content, name, None)


def _edited(content: bytes, name: str, line: str | None) -> bytes:
    mark = codecs.BOM_UTF8 if content.startswith(codecs.BOM_UTF8) else b""
    own = {each.number for each in read_lines(content) if each.name == name}
    lines = content.removeprefix(mark).decode().removesuffix("\n").split("\n") if content else []
    end = "\r\n" if lines and lines[0].endswith("\r") else "\n"
    place = min(own, default=len(lines) + 1)
    kept = [(number, each.removesuffix("\r")) for number, each in enumerate(lines, 1) if number not in own]
    if line is not None:
        kept.append((place, line))
    return mark + "".join(each + end for _, each in sorted(kept)).encode()


def _why(text: str) -> str:
    """What is wrong with a hash, without a character of it."""
    match = _BCRYPT.fullmatch(text)
    if match is None:
        return "the hash is not one of bcrypt; set the password anew"
    return f"the cost of the hash is {int(match[1])}, not one of {COSTS[0]} to {COSTS[-1]}"
