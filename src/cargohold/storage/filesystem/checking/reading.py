"""Reading content to see whether its bytes are those of its digest, no faster than is asked for."""

from __future__ import annotations

import math
import os
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from cargohold.storage.filesystem.pace import ClosingError
from cargohold.types.digest import Digest, Hasher

if TYPE_CHECKING:
    from collections.abc import Callable

_PIECE: Final = 1 << 20
_NAP: Final = 0.05
_REMEMBERED: Final = 65_536


class LateError(Exception):
    """The time that there is for reading is over."""


class Rate:
    """Lets all threads together take so many bytes a second (None: as many as there are)."""

    def __init__(self, limit: int | None, is_closing: Callable[[], bool]) -> None:
        self._limit = limit
        self._is_closing = is_closing
        self._lock = threading.Lock()
        self._next = time.monotonic()

    def take(self, count: int, until: float = math.inf) -> None:
        """Wait for the turn of so many bytes. Raises ClosingError, and LateError where that comes after `until`."""
        turn = time.monotonic()
        with self._lock:
            if self._limit is not None:
                turn = max(self._next, turn)
            if turn >= until:
                raise LateError
            if self._limit is not None:
                self._next = turn + count / self._limit
        while not self._is_closing() and (left := turn - time.monotonic()) > 0:
            time.sleep(min(left, _NAP))
        if self._is_closing():
            raise ClosingError


class Reader:
    """Reads content and remembers what was found of which file, so that what many name is read once. For threads."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._lock = threading.Lock()
        self._judged: OrderedDict[tuple[Digest, int, int, int], bool] = OrderedDict()
        self._wrong: set[str] = set()

    def is_wrong(self, path: str, digest: Digest) -> bool:
        """Whether a file that was read has other bytes than those of the digest. Raises OSError, and ClosingError."""
        return path in self._wrong and not self.matches(path, digest)

    def matches(self, path: str, digest: Digest) -> bool:
        """As `reads`, but once: what was found of a file is remembered, as long as it does not change."""
        key = (digest, *_identity(os.stat(path)))
        with self._lock:
            found = self._judged.get(key)
        if found is None:
            found = self.reads(path, digest)
            with self._lock:
                self._judged[key] = found
                if len(self._judged) > _REMEMBERED:
                    self._judged.popitem(last=False)
        return found

    def reads(self, path: str, digest: Digest, until: float = math.inf) -> bool:
        """Whether the bytes of a file are those of the digest. Raises OSError, ClosingError, and LateError at `until`.

        The bytes are dropped from the system's cache, as far as they are not being written, before they are read, for
        a disk that has lost them would not be found out, and afterwards, for what is pulled often should stay there.
        """
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _forget(descriptor)
            hasher = Hasher(digest.algorithm)
            while piece := os.pread(descriptor, _PIECE, hasher.length):
                self._rate.take(len(piece), until)
                hasher.update(piece)
            _forget(descriptor)
        finally:
            os.close(descriptor)
        is_right = hasher.digest() == digest
        if not is_right:
            with self._lock:
                if len(self._wrong) < _REMEMBERED:
                    self._wrong.add(path)
        return is_right


def _identity(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_size, status.st_mtime_ns


def _forget(descriptor: int) -> None:
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
