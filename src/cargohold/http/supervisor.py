"""The process above the workers: forks them, replaces those that die, and ends with them."""

from __future__ import annotations

import itertools
import logging
import math
import os
import select
import signal
import struct
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from cargohold.http.chores import Errand
from cargohold.http.notify import feed_watchdog, notify_stop, watchdog_pause
from cargohold.http.tls import USABLE_KEYS, Renewal
from cargohold.http.worker import ECHO_SECONDS, END, RETIRE, Pulse, Work, say_nothing_is_renewed, work

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from cargohold.http.chores import Chore

_LONG_LIFE_SECONDS: Final = 10.0
_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 2.0
_START_SECONDS: Final = 60.0
BEAT_SECONDS = 10.0
# So many of its beats are missed of a worker that hangs. Looks are counted, not seconds: while the whole machine is
# suspended nobody looks.
MISSED_BEATS: Final = 6
_PID: Final = struct.Struct("i")

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
    that ends in peace was told to, and is replaced too; one whose event loop has stood still for a minute is
    killed. The second signal kills all. `ready` is called once, when all workers take requests.

    A certificate is renewed on SIGHUP, or when its files are seen to have changed: heirs are started beside
    the workers, which retire when all heirs are ready. Where one does not become so all stays as it was: an
    abort, granian's own, shows that the new certificate is no good; whatever else ends an heir, or holds it
    up, says nothing about the certificate, which is tried again later.

    A `chore` is done beside the workers, from when they are ready; whatever becomes of that does not touch them. It is
    told of a stop with them, and has as long.
    """

    def __init__(
        self,
        task: Work,
        listeners: list[socket.socket],
        ready: Callable[[], None],
        chore: Chore | None = None,
    ) -> None:
        self._task = task
        self._seats = [_Seat(listener) for listener in listeners]
        self._ready = ready
        self._unready = len(listeners)
        self._wakeup, self._wakeup_end = _pipe()
        self._announced, self._announced_end = _pipe()
        self._lifeline, self._lifeline_end = _pipe()
        self._renewal = None if task.credentials is None else Renewal(task.credentials)
        self._look_at = math.inf
        self._new_task = task
        self._heirs: dict[int, _Seat] = {}
        self._ready_heirs: set[int] = set()
        self._give_up_at = math.inf
        self._retired: set[int] = set()
        self._errand = None if chore is None else Errand(chore)
        self._places: dict[int, int] = {}
        self._missed_beats: dict[int, int] = {}
        self._beats_at = time.monotonic() + BEAT_SECONDS
        self._watchdog = watchdog_pause()
        self._feed_at = math.inf if self._watchdog is None else 0.0
        self._told_to_stop_at: float | None = None
        self._end_at = math.inf
        self._kill_at: float | None = None
        self._code = 0

    def run(self) -> int:
        """Gives the exit code: 0 after a stop that was asked for once, 1 otherwise."""
        for number in self._signals():
            signal.signal(number, _noted)
        signal.set_wakeup_fd(self._wakeup_end)
        poll = select.poll()
        poll.register(self._wakeup, select.POLLIN)
        poll.register(self._announced, select.POLLIN)
        while self._kill_at is None or self._children():
            self._fill_seats()
            self._renew()
            self._look_after()
            self._run_errand()
            for descriptor, _ in poll.poll(self._pause()):
                if descriptor == self._wakeup:
                    self._heed(os.read(self._wakeup, 64))
                else:
                    self._hear(os.read(self._announced, 16 * _PID.size))
            if time.monotonic() >= self._end_at:
                self._end()
            if self._kill_at is not None and time.monotonic() >= self._kill_at:
                self._signal_all(signal.SIGKILL)
        return self._code

    def _signals(self) -> set[signal.Signals]:
        hanging_up = set() if self._task.ends_with_terminal else {signal.SIGHUP}
        return {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD} | hanging_up

    def _children(self) -> list[int]:
        errand = [self._errand.pid] if self._errand and self._errand.pid else []
        return [*(seat.pid for seat in self._seats if seat.pid), *self._heirs, *self._retired, *errand]

    def _fill_seats(self) -> None:
        if self._kill_at is not None:
            return
        for seat in self._seats:
            if seat.pid is None and time.monotonic() >= seat.due:
                seat.born = time.monotonic()
                seat.pid = self._fork_worker(seat, self._task)

    def _look_after(self) -> None:
        """Kill workers that hang, and tell the service manager that this process does not."""
        now = time.monotonic()
        if self._watchdog is not None and now >= self._feed_at:
            self._feed_at = now + self._watchdog
            feed_watchdog()
        if now < self._beats_at or self._kill_at is not None:
            return
        self._beats_at = now + BEAT_SECONDS
        for pid in self._missed_beats:
            self._missed_beats[pid] += 1
            if self._missed_beats[pid] == MISSED_BEATS:
                _log.error(
                    "worker %d has hung for %g seconds: it is killed", pid, BEAT_SECONDS * MISSED_BEATS
                )
                os.kill(pid, signal.SIGKILL)

    def _run_errand(self) -> None:
        if self._errand and not self._unready and self._kill_at is None and self._errand.is_due():
            self._errand.begin(lambda name, run: self._fork(name, lambda: self._be_apart(run)))

    def _renew(self, *, at_once: bool = False) -> None:
        """Start heirs where there is a new certificate, and give up those that take too long."""
        now = time.monotonic()
        if now >= self._give_up_at:
            self._disinherit(f"not all workers were ready with it after {_START_SECONDS:g} seconds")
        busy = self._kill_at is not None or self._unready > 0 or self._heirs
        if self._renewal is None or busy or (now < self._look_at and not at_once):
            return
        credentials = self._renewal.look(at_once=at_once)
        if credentials is None:
            self._look_at = now + _LOOK_SECONDS
            return
        self._look_at, self._give_up_at = math.inf, now + _START_SECONDS
        self._new_task = replace(self._task, credentials=credentials)
        for seat in self._seats:
            self._heirs[self._fork_worker(seat, self._new_task)] = seat

    def _succeed(self) -> None:
        """Put the heirs in the place of the workers."""
        for pid, seat in self._heirs.items():
            if seat.pid is not None:
                self._retire(seat.pid)
            seat.pid, seat.born = pid, time.monotonic()
        self._task = self._new_task
        self._end_succession()
        assert self._renewal is not None
        assert self._task.credentials is not None
        self._renewal.accept(self._task.credentials)

    def _disinherit(self, reason: str, *, for_good: bool = False) -> None:
        for pid in self._heirs:
            self._retire(pid)
        self._end_succession()
        assert self._renewal is not None
        if for_good:
            self._renewal.refuse(f"{reason}; {USABLE_KEYS}")
        else:
            self._renewal.put_off(reason)

    def _retire(self, pid: int) -> None:
        os.kill(pid, RETIRE)
        self._retired.add(pid)

    def _end_succession(self) -> None:
        self._heirs.clear()
        self._ready_heirs.clear()
        self._look_at, self._give_up_at = time.monotonic() + _LOOK_SECONDS, math.inf

    def _pause(self) -> float:
        """Milliseconds until there is something to do that no descriptor tells of."""
        now = time.monotonic()
        if self._kill_at is not None:
            due = min(self._end_at, self._kill_at)
        else:
            empty = [seat.due for seat in self._seats if seat.pid is None]
            due = min(*empty, self._look_at, self._give_up_at, self._beats_at)
            if self._errand and not self._unready:
                due = min(due, now + self._errand.pause())
        due = min(due, self._feed_at)
        return max(1.0, (min(due, now + 60.0) - now) * 1000 + 1)

    def _heed(self, signals: bytes) -> None:
        """Of what came at once a stop counts first: workers that ended with it are not missed."""
        for number in sorted(signals, key=signal.SIGCHLD.__eq__):
            if number == signal.SIGCHLD:
                self._reap()
            elif number == signal.SIGHUP:
                if self._renewal is None:
                    say_nothing_is_renewed()
                self._renew(at_once=True)
            elif self._told_to_stop_at is None:
                self._told_to_stop_at = time.monotonic()
                if self._kill_at is None:
                    self._stop(0)
            elif time.monotonic() - self._told_to_stop_at > ECHO_SECONDS:
                self._code = 1
                self._kill_at = time.monotonic()

    def _stop(self, code: int) -> None:
        """Let the workers say that the server goes, and serve on for as long as is set."""
        self._code, now = code, time.monotonic()
        self._end_at, self._kill_at = now + self._task.drain, now + self._task.longest_stop
        notify_stop(self._task.longest_stop)
        self._signal_all(signal.SIGTERM)

    def _end(self) -> None:
        """Let no more connections come, and then the workers end with those that they have."""
        self._end_at = math.inf
        self._task.refuse(*(seat.listener for seat in self._seats if seat.listener.fileno() >= 0))
        for seat in self._seats:
            seat.listener.close()  # or the kernel would go on taking connections for nobody
        if self._task.redirect is not None:
            self._task.redirect.close()
        self._signal_all(END)

    def _signal_all(self, number: signal.Signals) -> None:
        for pid in self._children():
            os.kill(pid, number)

    def _reap(self) -> None:
        for child in self._children():
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                self._bury(pid, os.waitstatus_to_exitcode(status))

    def _bury(self, pid: int, code: int) -> None:
        if self._errand and self._errand.pid == pid:
            self._errand.bury(code, is_stopping=self._kill_at is not None)
            return
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        told_to = pid in self._retired and code == -RETIRE  # that early that it could not listen
        if code and not told_to and self._kill_at is None:
            _log.error("worker %d ended with %s", pid, how)
        for seat in self._seats:
            if seat.pid == pid:
                seat.pid = None
                self._mourn(seat, code)
        self._retired.discard(pid)
        del self._places[pid]
        self._missed_beats.pop(pid, None)
        if self._heirs.pop(pid, None) and self._kill_at is None:
            self._disinherit(f"a worker ended with {how} as it started", for_good=code == -signal.SIGABRT)

    def _mourn(self, seat: _Seat, code: int) -> None:
        """Decide what becomes of the place of a worker that ended."""
        if self._kill_at is not None:
            seat.listener.close()  # the others' are left
            return
        now = time.monotonic()
        if code == 0:
            # It was told to stop: alone, and another takes its place, or with us, and we shall hear of it in a moment.
            seat.due = now + _FIRST_PAUSE_SECONDS
            return
        if self._unready > 0:
            if code == -signal.SIGABRT and self._renewal:
                _log.error("the certificate or its key may be of a kind that is not served: %s", USABLE_KEYS)
            self._stop(1)
            return
        if now - seat.born > _LONG_LIFE_SECONDS:
            seat.pause = 0.0
        seat.due = now + seat.pause
        seat.pause = min(max(2 * seat.pause, _FIRST_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS)

    def _hear(self, pids: bytes) -> None:
        for (pid,) in _PID.iter_unpack(pids):
            is_ready = pid not in self._missed_beats
            if pid in self._places:
                self._missed_beats[pid] = 0
            if is_ready:
                self._count_ready(pid)

    def _count_ready(self, pid: int) -> None:
        if pid in self._heirs:
            self._ready_heirs.add(pid)
            if len(self._ready_heirs) == len(self._heirs):
                self._succeed()
        elif self._unready > 0:
            self._unready -= 1
            if self._unready == 0:
                self._look_at = time.monotonic() if self._renewal else math.inf
                self._ready()

    def _fork_worker(self, seat: _Seat, task: Work) -> int:
        place = next(number for number in itertools.count() if number not in self._places.values())
        pid = self._fork("worker", lambda: self._be_worker(seat, task, place))
        self._places[pid] = place
        return pid

    def _fork(self, name: str, run: Callable[[], int]) -> int:
        """Start a process that runs this, and ends with what it gives; its id."""
        held = self._signals()
        signal.pthread_sigmask(signal.SIG_BLOCK, held)  # a child is not to lose one in the parent's handlers
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            self._be_child(name, run, held)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, held)
        return pid

    def _be_child(self, name: str, run: Callable[[], int], held: set[signal.Signals]) -> None:
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in held:
                # A SIGHUP that is sent to all processes is for the supervisor alone.
                signal.signal(number, signal.SIG_IGN if number == signal.SIGHUP else signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, held)
            for descriptor in (self._wakeup, self._wakeup_end, self._announced, self._lifeline_end):
                os.close(descriptor)
            code = run()
        except BaseException:  # noqa: BLE001 - the end of the process, whatever it is
            _log.critical("the %s ends with an error that nobody caught", name, exc_info=True)
        finally:
            logging.shutdown()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _be_worker(self, seat: _Seat, task: Work, place: int) -> int:
        for other in self._seats:
            if other is not seat:
                other.listener.close()
        pulse = Pulse(BEAT_SECONDS, self._announce)
        return work(task, seat.listener, self._announce, pulse, place=place, lifeline=self._lifeline)

    def _be_apart(self, run: Callable[[], int]) -> int:
        """Beside the workers: with none of what connections come by, or the kernel would go on taking them."""
        redirect = [] if self._task.redirect is None else [self._task.redirect.listener]
        for listener in (*redirect, *(seat.listener for seat in self._seats)):
            listener.close()
        return run()

    def _announce(self) -> None:
        """The first time: requests are taken. From then on: the loop turns."""
        with suppress(BrokenPipeError):  # nobody is there who could be told: the lifeline says so too
            os.write(self._announced_end, _PID.pack(os.getpid()))


def _noted(*_: object) -> None:
    """The number is in the wakeup pipe; a handler must be there for it to be written."""


def _pipe() -> tuple[int, int]:
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    return read_end, write_end
