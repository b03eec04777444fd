"""What a server does now and then beside its workers, in a process of its own that they do not feel."""

from __future__ import annotations

import logging
import math
import mmap
import os
import signal
import struct
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

# After which it is tried again where the process has died before it could tell.
_AGAIN_SECONDS: Final = 600.0
# So much more or less than the time that has passed, and the clock was set, or the machine has slept.
_JUMP_SECONDS: Final = 1.0
# Of 1,000: whom the kernel ends first where memory runs out. (The processor is shared evenly: a process of a lower
# priority that holds a lock would keep others waiting.)
_EXPENDABLE: Final = b"500"
_IGNORED: Final = (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_TIME: Final = struct.Struct("=d")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Chore:
    """Something to be done again and again, `first` at that time (of the epoch).

    `work` is called each time, in a new process. It is given a function that takes the time of the
    next call, to be called as soon as that is known, and one that says whether to end: it looks at that often. What it
    raises ends the process with a line in the log. `name`, at most 15 letters, is the process's.
    """

    name: str
    first: float
    work: Callable[[Callable[[float], None], Callable[[], bool]], None]


class Errand:
    """A chore as its supervisor sees it: when it is due, and the process that does it, never more than one.

    The supervisor itself touches no disk for it, and learns of the next time through memory that both share.

    Attributes: `pid` (of that process; None while there is none).
    """

    def __init__(self, chore: Chore) -> None:
        self.pid: int | None = None
        self._chore = chore
        self._shared = mmap.mmap(-1, _TIME.size)
        self._tell(chore.first)
        self._shift = _shift()

    def pause(self) -> float:
        """Seconds until it is due, as the clock goes now; infinity while it is done."""
        return math.inf if self.pid else _TIME.unpack(self._shared)[0] - time.time()

    def is_due(self) -> bool:
        """Whether it is to be done now: also when the clock has jumped, since it may be overdue, or far too late."""
        if self.pid:
            return False
        before, self._shift = self._shift, _shift()
        return abs(self._shift - before) > _JUMP_SECONDS or self.pause() <= 0

    def begin(self, fork: Callable[[str, Callable[[], int]], int]) -> None:
        """Have it done, by what `fork` makes a process of."""
        self._tell(time.time() + _AGAIN_SECONDS)
        parent = os.getpid()
        self.pid = fork(self._chore.name, lambda: self._work(parent))

    def bury(self, code: int, *, is_stopping: bool) -> None:
        """The process has ended, as `os.waitstatus_to_exitcode` says."""
        if code and not is_stopping:
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            _log.error(
                "the %s (process %d) ended with %s before it was done", self._chore.name, self.pid, how
            )
        self.pid = None

    def _work(self, parent: int) -> int:
        """In the process: until the work is done, a SIGTERM comes or nobody is there who could send one."""
        told: list[int] = []
        signal.signal(signal.SIGTERM, lambda number, _: told.append(number))
        for number in _IGNORED:
            signal.signal(number, signal.SIG_IGN)
        _write("/proc/self/oom_score_adj", _EXPENDABLE)
        _write("/proc/self/comm", self._chore.name.encode())
        self._chore.work(self._tell, lambda: bool(told) or os.getppid() != parent)
        return 0

    def _tell(self, when: float) -> None:
        self._shared[:] = _TIME.pack(when)


def _shift() -> float:
    """How far the clock is from one that is never set, and stands still while the machine sleeps."""
    return time.time() - time.monotonic()


def _write(path: str, content: bytes) -> None:
    with suppress(OSError), open(path, "wb", buffering=0) as file:
        file.write(content)
