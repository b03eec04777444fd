"""A number in memory that all processes share, by which each learns at once that something has changed."""

from __future__ import annotations

import mmap
import os
from contextlib import suppress

from cargohold.storage.filesystem.tree import UNWRITABLE, told

_BYTES = 8


class Generation:
    """64 random bits in a file that every process maps. Made before the fork or after it, opened at the first use.

    It is mapped to be read alone and written by a system call: a full disk is then an error, where a mapping would
    end the process. The file is never replaced, since those who have mapped it would not see the new one.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._identity = (0, 0)
        self.words: memoryview | None = None
        """Where the bits are, for who reads them all the time; None before a `read`, and where there is no file."""

    def read(self) -> int:
        """The bits as a number, another one after each `change` of any process; a tenth of a microsecond.

        0 where there is no file and none can be made. Raises Unavailable where it cannot be opened.
        """
        if self.words is None:
            with told():
                self.words = self._map()
        return self.words[0] if self.words is not None else 0

    def change(self) -> None:
        """Tell every process. Raises Unavailable, or Full."""
        with told():
            self._write()

    def follow(self) -> None:
        """Let go of a file that is no longer at the path, as after somebody has removed it. Raises Unavailable."""
        found = (0, 0)
        with told(), suppress(FileNotFoundError):
            status = os.stat(self._path)
            found = (status.st_dev, status.st_ino)
        if found != self._identity:
            self.close()

    def close(self) -> None:
        """Let go of the file; the next `read` opens it again."""
        self.words = None

    def _map(self) -> memoryview | None:
        if not self._make():
            return None
        descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            status = os.fstat(descriptor)
            self._identity = (status.st_dev, status.st_ino)
            return memoryview(mmap.mmap(descriptor, _BYTES, prot=mmap.PROT_READ)).cast("Q")
        finally:
            os.close(descriptor)

    def _make(self) -> bool:
        """Whether there is a file, now at the latest, that can be mapped."""
        with suppress(FileNotFoundError):
            if os.stat(self._path).st_size >= _BYTES:
                return True
        try:
            self._write()
        except OSError as error:
            if error.errno not in UNWRITABLE:
                raise
            return False
        return True

    def _write(self) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(descriptor, os.urandom(_BYTES), 0)
        finally:
            os.close(descriptor)
