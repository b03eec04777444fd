"""The process above the workers: forks them, replaces those that die, and ends with them."""

from __future__ import annotations

import logging
import os
import select
import signal
import sys
import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cargohold.http.worker import Work, work

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

_KILL_AFTER_SECONDS: Final = 5.0
_LONG_LIFE_SECONDS: Final = 10.0
_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 5.0

_log = logging.getLogger(__name__)


@dataclass
class _Seat:
    """A worker's place: its socket, who sits in it, and when the next one may."""

    listener: socket.socket
    pid: int | None = None
    born: float = 0.0
    due: float = 0.0
    pause: float = _FIRST_PAUSE_SECONDS


class Supervisor:
    """Runs one worker for each listener until a SIGTERM or SIGINT.

    A worker that dies is replaced: at once the first time, then after pauses that double up to five seconds,
    for as long as it takes; only one that dies before all were ready for the first time ends the service. One
    that ends in peace was told to, as all will be, and so the stop begins. The second signal kills. `ready` is
    called once, when all workers take requests.
    """

    def __init__(self, task: Work, listeners: list[socket.socket], ready: Callable[[], None]) -> None:
        self._task = task
        self._seats = [_Seat(listener) for listener in listeners]
        self._ready = ready
        self._unready = len(listeners)
        self._wakeup, self._wakeup_end = _pipe()
        self._announced, self._announced_end = _pipe()
        self._lifeline, self._lifeline_end = _pipe()
        self._told_to_stop = False
        self._kill_at: float | None = None
        self._code = 0

    def run(self) -> int:
        """Gives the exit code: 0 after a stop that was asked for once, 1 otherwise."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, _noted)
        signal.set_wakeup_fd(self._wakeup_end)
        poll = select.poll()
        poll.register(self._wakeup, select.POLLIN)
        poll.register(self._announced, select.POLLIN)
        while self._kill_at is None or any(seat.pid for seat in self._seats):
            self._fill_seats()
            for descriptor, _ in poll.poll(self._pause()):
                if descriptor == self._wakeup:
                    self._heed(os.read(self._wakeup, 64))
                else:
                    self._count_ready(len(os.read(self._announced, 64)))
            if self._kill_at is not None and time.monotonic() >= self._kill_at:
                self._signal_all(signal.SIGKILL)
        return self._code

    def _fill_seats(self) -> None:
        if self._kill_at is not None:
            return
        for seat in self._seats:
            if seat.pid is None and time.monotonic() >= seat.due:
                self._fork(seat)

    def _pause(self) -> float:
        """Milliseconds until there is something to do that no descriptor tells of."""
        now = time.monotonic()
        times = (
            [self._kill_at] if self._kill_at is not None else [s.due for s in self._seats if s.pid is None]
        )
        return max(1.0, (min([*times, now + 60.0]) - now) * 1000 + 1)

    def _heed(self, signals: bytes) -> None:
        """Of what came at once a stop counts first: workers that ended with it are not missed."""
        for number in sorted(signals, key=signal.SIGCHLD.__eq__):
            if number == signal.SIGCHLD:
                self._reap()
            elif self._told_to_stop:
                self._code = 1
                self._kill_at = time.monotonic()
            else:
                self._told_to_stop = True
                if self._kill_at is None:
                    self._stop(0)

    def _stop(self, code: int) -> None:
        self._code = code
        self._kill_at = time.monotonic() + self._task.stop_timeout + _KILL_AFTER_SECONDS
        for seat in self._seats:
            seat.listener.close()  # or the kernel would go on taking connections for nobody
        self._signal_all(signal.SIGTERM)

    def _signal_all(self, number: signal.Signals) -> None:
        for seat in self._seats:
            if seat.pid is not None:
                os.kill(seat.pid, number)

    def _reap(self) -> None:
        for seat in self._seats:
            if seat.pid is None:
                continue
            pid, status = os.waitpid(seat.pid, os.WNOHANG)
            if pid:
                self._bury(seat, os.waitstatus_to_exitcode(status))

    def _bury(self, seat: _Seat, code: int) -> None:
        pid, seat.pid = seat.pid, None
        if self._kill_at is not None:
            return
        now = time.monotonic()
        if code == 0:
            # It was told to stop: alone, and another takes its place, or with us, and we shall hear of it in a moment.
            seat.due = now + _FIRST_PAUSE_SECONDS
            return
        _log.error("worker %d ended with %s", pid, f"signal {-code}" if code < 0 else f"exit code {code}")
        if self._unready > 0:
            self._stop(1)
            return
        if now - seat.born > _LONG_LIFE_SECONDS:
            seat.pause = 0.0
        seat.due = now + seat.pause
        seat.pause = min(max(2 * seat.pause, _FIRST_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS)

    def _count_ready(self, count: int) -> None:
        if self._unready > 0:
            self._unready -= count
            if self._unready <= 0:
                self._ready()

    def _fork(self, seat: _Seat) -> None:
        seat.born = time.monotonic()
        held = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}
        signal.pthread_sigmask(signal.SIG_BLOCK, held)  # a child is not to lose one in the parent's handlers
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            self._be_worker(seat, held)
        seat.pid = pid
        signal.pthread_sigmask(signal.SIG_UNBLOCK, held)

    def _be_worker(self, seat: _Seat, held: set[signal.Signals]) -> None:
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in held:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, held)
            for other in self._seats:
                if other is not seat:
                    other.listener.close()
            for descriptor in (self._wakeup, self._wakeup_end, self._announced, self._lifeline_end):
                os.close(descriptor)
            code = work(self._task, seat.listener, self._announce, self._lifeline)
        except BaseException:  # noqa: BLE001 - the end of the process, whatever it is
            traceback.print_exc()
        finally:
            logging.shutdown()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _announce(self) -> None:
        os.write(self._announced_end, b".")


def _noted(*_: object) -> None:
    """The number is in the wakeup pipe; a handler must be there for it to be written."""


def _pipe() -> tuple[int, int]:
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    return read_end, write_end
