"""What proves that a folder is as it was: its inode and both its times.

The time of modification can be put back by any process, the time of change cannot. Whoever changes the folder, in this
process or another, changes them by that.

Both times move in steps (4 ms on most kernels before 6.13), so a folder that changed just before it was read may
have changed again within the same step, and look the same. Linux stamps files by a clock that programs can read too:
a reading that began when that clock had moved on since the last change is proved, for every later change has a later
stamp. We ask for a tenth of a second between them, since a network's file server stamps by a clock of its own; and
for two seconds where the times show no fractions of a millisecond, or the clock is not to be had.
"""

from __future__ import annotations

import os
import sys
import time
from typing import NamedTuple

_FINE = 100_000_000
_COARSE = 2_000_000_000
_MILLISECOND = 1_000_000
_LINUX_STAMPS = 5  # CLOCK_REALTIME_COARSE, which the `time` module does not name


def stamp() -> int:
    """The time that a change to a folder would be stamped with now, in nanoseconds, as nearly as it can be had."""
    return time.clock_gettime_ns(_LINUX_STAMPS) if sys.platform == "linux" else time.time_ns()


def is_exact(moment: int) -> bool:
    """Whether a file system that gave this time, in nanoseconds, keeps more of it than milliseconds."""
    return moment % _MILLISECOND != 0


class Proof(NamedTuple):
    """What must not have changed."""

    inode: int
    modified: int
    changed: int

    @classmethod
    def of(cls, folder: str) -> Proof:
        """The folder's proof at this moment. Raises FileNotFoundError or NotADirectoryError."""
        status = os.stat(folder)
        return cls(status.st_ino, status.st_mtime_ns, status.st_ctime_ns)

    def holds(self, started: int) -> bool:
        """Whether it proves, for as long as it is the same, a reading that began at `started` (see `stamp`)."""
        is_fine = sys.platform == "linux" and is_exact(self.modified) and is_exact(self.changed)
        return started - max(self.modified, self.changed) >= (_FINE if is_fine else _COARSE)
