"""Tars that others have written, or that nobody should have."""

from __future__ import annotations

import io
import os
import tarfile
from typing import TYPE_CHECKING

from cargohold.storage.archive.reading import TarArchive

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def entry(
    name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, target: str = ""
) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.type, member.linkname = len(content), kind, target
    return member


def tar_of(
    members: Iterable[tuple[tarfile.TarInfo, bytes]] | dict[str, bytes], form: int = tarfile.GNU_FORMAT
) -> bytes:
    """A tar of these files, or of these members, written by the standard library."""
    if isinstance(members, dict):
        members = [(entry(name, content), content) for name, content in members.items()]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for member, content in members:
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def opened(folder: Path, content: bytes) -> TarArchive:
    """The archive that a file of this content is."""
    file = folder / "archive.tar"
    file.write_bytes(content)
    return TarArchive(os.open(file, os.O_RDONLY | os.O_CLOEXEC))
