"""Archives as files by their names, whether they are directories or tars."""

from __future__ import annotations

import os
import sqlite3
import stat
from typing import TYPE_CHECKING, Final, Protocol

from cargohold.storage.archive.scratch import open_scratch
from cargohold.storage.archive.tar import ArchiveInvalid, inner_name, read_members

if TYPE_CHECKING:
    from collections.abc import Iterator

_PIECE: Final = 256 << 10
_MOST_LINKS: Final = 8
_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"


class Archive(Protocol):
    """Files by their names, which are relative and have `/` in between. All raise ArchiveInvalid, and OSError."""

    def size(self, name: str) -> int | None:
        """How many bytes a file has; None where there is no such file."""
        ...

    def pieces(self, name: str) -> Iterator[bytes]:
        """The bytes of a file. Raises ArchiveInvalid too where there is none, or where it ends before its size."""
        ...


def read_file(archive: Archive, name: str, most: int) -> bytes:
    """A file whole. Raises ArchiveInvalid where there is none, or where it is larger than `most` bytes."""
    size = archive.size(name)
    if size is not None and size > most:
        raise ArchiveInvalid(f"{name} is larger than {most} bytes")
    return b"".join(archive.pieces(name))


class DirectoryArchive:
    """A directory. Links are followed that do not lead out of it."""

    def __init__(self, path: str) -> None:
        self._top = os.path.realpath(path)

    def size(self, name: str) -> int | None:
        descriptor = self._open(name)
        if descriptor is None:
            return None
        try:
            return os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)

    def pieces(self, name: str) -> Iterator[bytes]:
        descriptor = self._open(name)
        if descriptor is None:
            raise ArchiveInvalid(f"{name} is missing")
        try:
            yield from _pieces(descriptor, name, 0, os.fstat(descriptor).st_size)
        finally:
            os.close(descriptor)

    def _open(self, name: str) -> int | None:
        path = os.path.realpath(f"{self._top}/{inner_name(name)}")
        if not path.startswith(f"{self._top.rstrip('/')}/"):
            raise ArchiveInvalid(f"{name} is a link that leads out of the directory")
        try:
            # A pipe must not keep us waiting for somebody to write to it.
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError):
            return None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise ArchiveInvalid(f"{name} is no regular file")
        return descriptor


class TarArchive:
    """A tar in an open file. Raises ArchiveInvalid where it is none, or holds a name twice."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._members = open_scratch(
            "CREATE TABLE members (name TEXT PRIMARY KEY, offset INTEGER, size INTEGER, target TEXT) WITHOUT ROWID"
        )
        self._refuse_compressed()
        for member in read_members(descriptor):
            try:
                self._members.execute("INSERT INTO members VALUES (?, ?, ?, ?)", _encodable(member))
            except sqlite3.IntegrityError:
                raise ArchiveInvalid(f"it holds {member.name!r} twice") from None

    def _refuse_compressed(self) -> None:
        begin = os.pread(self._descriptor, 4, 0)
        for magic, program in ((_GZIP, "gunzip"), (_ZSTD, "unzstd")):
            if begin.startswith(magic):
                raise ArchiveInvalid(f"it is compressed: unpack it first, with {program}")

    def size(self, name: str) -> int | None:
        found = self._find(name)
        return None if found is None else found[1]

    def pieces(self, name: str) -> Iterator[bytes]:
        found = self._find(name)
        if found is None:
            raise ArchiveInvalid(f"{name} is missing")
        yield from _pieces(self._descriptor, name, *found)

    def _find(self, name: str) -> tuple[int, int] | None:
        """The place and the size of a file, by whatever name of it."""
        for _ in range(_MOST_LINKS):
            row = self._members.execute(
                "SELECT offset, size, target FROM members WHERE name = ?", (name,)
            ).fetchone()
            if row is None:
                return None
            offset, size, target = row
            if not target:
                return offset, size
            name = target
        raise ArchiveInvalid(f"{name!r} is a link to a link, and so on")


def _encodable(member: tuple[str, int, int, str]) -> tuple[str, int, int, str]:
    name, offset, size, target = member
    try:
        f"{name}{target}".encode()
    except UnicodeEncodeError:
        raise ArchiveInvalid(f"{name!r} is no name in UTF-8") from None
    return name, offset, size, target


def _pieces(descriptor: int, name: str, offset: int, size: int) -> Iterator[bytes]:
    end = offset + size
    while offset < end:
        piece = os.pread(descriptor, min(_PIECE, end - offset), offset)
        if not piece:
            raise ArchiveInvalid(f"{name} has been cut off while it was read")
        offset += len(piece)
        yield piece
