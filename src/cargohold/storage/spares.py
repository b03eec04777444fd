"""Small files that have been replaced, kept to be written again in the place of new ones.

To free a file's blocks may take a disk longer than all the rest of a push: one that is mounted with `discard` is told
of each at once. So what a moved tag's link was is not removed, but becomes the next one that is moved.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from typing import Final

from cargohold.storage import disk

REST: Final = 60.0
"""Seconds after which one is written again: whoever opened it when it was in place has read it by then."""

_LONGEST: Final = 600.0
_MOST: Final = 8_192


class Spares:
    """The paths of files that are ours alone, oldest first: at most 8,192, each a block of the disk. For threads."""

    def __init__(self) -> None:
        self._kept = deque[tuple[float, str]]()
        self._lock = threading.Lock()

    def put(self, path: str) -> list[str]:
        """Keep one that no durable name leads to; those that are not needed any more, to be removed by the caller."""
        now = time.monotonic()
        with self._lock:
            self._kept.append((now, path))
            dropped = []
            while len(self._kept) > _MOST or self._kept[0][0] < now - _LONGEST:
                dropped.append(self._kept.popleft()[1])
            return dropped

    def open(self, path: str, size: int) -> int | None:
        """A descriptor of one that has rested, and is at `path` now, of this size: to be written from its start.

        None where there is none fit for it. Raises OSError.
        """
        spare = self._take()
        if spare is None:
            return None
        try:
            disk.rename(spare, path)
            descriptor = disk.open_file(path, is_new=False)
        except FileNotFoundError:  # somebody has tidied up
            return None
        except PermissionError:
            disk.remove_file(path)
            return None
        try:
            if _is_ours(os.fstat(descriptor)):
                disk.truncate(descriptor, size)
                return descriptor
            disk.remove_file(path)
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        return None

    def _take(self) -> str | None:
        with self._lock:
            if self._kept and self._kept[0][0] <= time.monotonic() - REST:
                return self._kept.popleft()[1]
        return None

    def clear(self) -> list[str]:
        """Keep none any more; which they were."""
        with self._lock:
            paths = [path for _, path in self._kept]
            self._kept.clear()
        return paths


def _is_ours(status: os.stat_result) -> bool:
    """A backup made of hard links has its names for the file too, and that of another user may be for him alone."""
    return status.st_nlink == 1 and status.st_uid == os.geteuid()
