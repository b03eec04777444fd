"""Tars: headers to be written, and the members of one that others have written, none of which is ever unpacked.

The formats are those of POSIX (ustar and pax) and GNU's long names. Headers are understood by the standard library;
what goes with them is read here, because it takes whatever length a header tells and keeps all members in memory.
"""

from __future__ import annotations

import os
import tarfile
from tarfile import TarInfo
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK: Final = tarfile.BLOCKSIZE
END: Final = bytes(2 * BLOCK)
"""What follows the last member."""

_LONGEST_EXTENSION: Final = 64 << 10
_LONGEST_LENGTH: Final = 7
_FILES: Final = frozenset({tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE})
_LINKS: Final = frozenset({tarfile.LNKTYPE, tarfile.SYMTYPE})
_PAX: Final = frozenset({tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE})
_DEVICES: Final = frozenset({tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE})
_LONG_NAMES: Final = {tarfile.GNUTYPE_LONGNAME: "path", tarfile.GNUTYPE_LONGLINK: "linkpath"}
_SPARSE: Final = "GNU.sparse"
_USED: Final = frozenset({"path", "linkpath", "size"})


class ArchiveInvalid(Exception):
    """An archive is not what it should be; the message says what is wrong."""


class Member(NamedTuple):
    """A file of `size` bytes at `offset` or, where there is a `target`, another name of the one of that name.

    Names are relative to the archive's top, without `.` and `..`.
    """

    name: str
    offset: int
    size: int
    target: str = ""


def header_of(name: str, size: int) -> bytes:
    """What precedes a file of so many bytes. The same for the same file at all times."""
    member = TarInfo(name)
    member.size, member.mode = size, 0o644
    return member.tobuf(tarfile.PAX_FORMAT)


def padding_of(size: int) -> bytes:
    """What follows a file of so many bytes."""
    return bytes(-size % BLOCK)


def read_members(descriptor: int) -> Iterator[Member]:
    """The files and links of a tar in an open file, in their order. Raises ArchiveInvalid.

    Folders are passed over. A tar that breaks off is refused, and so is one that holds devices, or names outside of
    itself.
    """
    length = os.fstat(descriptor).st_size
    offset, extended = 0, _Extended()
    while offset < length:
        block = _read(descriptor, offset, BLOCK)
        if not any(block):
            return
        header = _header(block, offset)
        start = offset + BLOCK
        if header.type in _FILES and "size" in extended.fields:
            header.size = extended.number("size")
        occupied = 0 if header.type in _LINKS | _DEVICES | {tarfile.DIRTYPE} else header.size
        offset = start + occupied + -occupied % BLOCK
        if offset > length:
            raise ArchiveInvalid(f"it breaks off in the middle of {header.name!r}")
        if extended.take(header, descriptor, start):
            continue
        member = _member(header, extended, start)
        if member is not None:
            yield member
        extended = _Extended()


def _read(descriptor: int, offset: int, size: int) -> bytes:
    content = os.pread(descriptor, size, offset)
    if len(content) != size:
        raise ArchiveInvalid("it breaks off in the middle of a header")
    return content


def _header(block: bytes, offset: int) -> TarInfo:
    try:
        header = TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        what = "it is no tar" if offset == 0 else f"it is damaged at byte {offset}"
        raise ArchiveInvalid(f"{what}: {error}") from None
    if header.size < 0:
        raise ArchiveInvalid(f"the size of {header.name!r} is below zero")
    return header


class _Extended:
    """What headers before a header say of it: at most one of each kind, so that what they say takes little memory."""

    def __init__(self) -> None:
        self.fields: dict[str, str] = {}
        self._kinds: set[bytes] = set()

    def number(self, key: str) -> int:
        text = self.fields[key]
        if not (text.isascii() and text.isdigit() and len(text) < 20):  # noqa: PLR2004 - what 63 bits need
            raise ArchiveInvalid(f"{key} is {text[:32]!r}, and no number")
        return int(text)

    def take(self, header: TarInfo, descriptor: int, start: int) -> bool:
        """Note what such a header says; False where it is none."""
        if header.type == tarfile.XGLTYPE:
            return True
        if header.type not in _PAX and header.type not in _LONG_NAMES:
            return False
        kind = tarfile.XHDTYPE if header.type in _PAX else header.type
        if kind in self._kinds:
            raise ArchiveInvalid(f"two headers of the kind {kind.decode()!r} precede one file")
        self._kinds.add(kind)
        if header.size > _LONGEST_EXTENSION:
            raise ArchiveInvalid(f"a header of it is longer than {_LONGEST_EXTENSION} bytes")
        content = _read(descriptor, start, header.size)
        if header.type in _PAX:
            self.fields |= _pax(content)
        else:
            self.fields[_LONG_NAMES[header.type]] = _decoded(content.split(b"\0", 1)[0])
        return True


def _pax(content: bytes) -> dict[str, str]:
    """What is used of the records of a pax header: the length of each, a space, key=value, a newline."""
    fields: dict[str, str] = {}
    at, end = 0, len(content.rstrip(b"\0"))
    while at < end:
        space = content.find(b" ", at, at + _LONGEST_LENGTH + 1)
        length = content[at:space] if space > 0 else b""
        after = at + int(length) if length.isdigit() else 0
        equals = content.find(b"=", space, after)
        if equals < 0 or content[after - 1 : after] != b"\n":
            raise ArchiveInvalid("a pax header of it is damaged")
        key = _decoded(content[space + 1 : equals])
        if key in _USED:
            fields[key] = _decoded(content[equals + 1 : after - 1])
        elif key.startswith(_SPARSE):
            fields[_SPARSE] = ""
        at = after
    return fields


def _decoded(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _member(header: TarInfo, extended: _Extended, start: int) -> Member | None:
    fields = extended.fields
    written = fields.get("path", header.name)
    if header.type == tarfile.DIRTYPE:
        return None
    if header.type in _DEVICES:
        raise ArchiveInvalid(f"{written!r} is a device or a pipe, which no archive of images holds")
    name = inner_name(written)
    if header.type in _LINKS:
        linked = fields.get("linkpath", header.linkname)
        above = os.path.dirname(name) if header.type == tarfile.SYMTYPE and not linked.startswith("/") else ""
        return Member(name, start, 0, inner_name(f"{above}/{linked}" if above else linked))
    if header.type not in _FILES or _SPARSE in fields:
        raise ArchiveInvalid(f"{written!r} is stored in a way that is not known here: type {header.type!r}")
    return Member(name, start, header.size)


def inner_name(name: str) -> str:
    """A name in its one form. Raises ArchiveInvalid where it leads out of the archive, or to none of its files."""
    if name.startswith("/") or "\0" in name:
        raise ArchiveInvalid(f"{name!r} leads out of the archive")
    parts: list[str] = []
    for part in name.split("/"):
        if part == "..":
            if not parts:
                raise ArchiveInvalid(f"{name!r} leads out of the archive")
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    if not parts:
        raise ArchiveInvalid(f"{name!r} is no name of a file")
    return "/".join(parts)
