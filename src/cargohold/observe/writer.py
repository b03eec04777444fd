"""Lines on their way to standard error: gathered, written in whole pieces, and never waited for by a request."""

from __future__ import annotations

import errno
import os
import select
import socket
import stat
import threading
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

PIECE_BYTES: Final = 4096
"""What a pipe takes whole or not at all (PIPE_BUF): so lines of several processes do not run into each other."""
BACKLOG_BYTES: Final = 1024 * 1024
DELAY_SECONDS: Final = 0.05
TOGETHER: Final = 64
"""How many lines at most wait to be made."""
PATIENCE_SECONDS: Final = 1.0
_SHORT_PATIENCE_SECONDS: Final = 0.1
_NOWAIT: Final[int | None] = getattr(os, "RWF_NOWAIT", None)  # of Linux alone
_AS_WRITE: Final = -1  # at no offset of its own (pwritev2(2))


Unmade = TypeVar("Unmade")


class Writer(Generic[Unmade]):
    """Writes lines to a descriptor, in their order.

    At first each line is written at once. Between `start` and `stop`, on an event loop, lines are gathered: they go out
    when they fill pieces, and after DELAY_SECONDS at the latest. Nothing waits there for whoever reads the descriptor:
    what it does not take yet is kept, and lines beyond BACKLOG_BYTES are dropped until half of that is gone; `notice`
    makes the line that then says how many they were. Any thread may add lines; a forked process starts with none.
    Lines may also be gathered before they are made, by `make`: many in a row take less time than each by itself.

    Attributes: `dropped` (the lines that were lost, of this process).
    """

    def __init__(
        self, descriptor: int, notice: Callable[[int], bytes], make: Callable[[Unmade], bytes]
    ) -> None:
        self._notice = notice
        self._make = make
        self._send = _sender(descriptor)
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self._clear()
        os.register_at_fork(after_in_child=self._clear)

    def _clear(self) -> None:
        self.dropped = 0
        self._lock = (
            threading.RLock()
        )  # of one thread too: a signal's handler may write in the middle of a write
        self._unmade: deque[Unmade] = deque()
        self._pieces: deque[bytes] = deque()
        self._open = bytearray()
        self._size = 0
        self._untold = 0
        self._is_due = False

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Gather lines from now on. To be called in the thread of the loop."""
        self._loop, self._thread = loop, threading.get_ident()

    def stop(self) -> None:
        """Write what is gathered, waiting no longer than PATIENCE_SECONDS, and then each line at once."""
        self._loop, self._is_due = None, False
        self.flush()

    def add(self, line: bytes, *, at_once: bool = False) -> None:
        """Take a line, with its line feed. One that is to go out `at_once` takes along those that were gathered."""
        with self._lock:
            self._make_all()
            self._take(line)
            self._go_on(at_once=at_once)

    def gather(self, unmade: Unmade, *, at_once: bool = False) -> None:
        """Take what a line is to be made of, as `add` takes a line; in the thread of the loop alone."""
        self._unmade.append(unmade)
        if at_once or not self._is_due or len(self._unmade) >= TOGETHER:
            with self._lock:
                self._make_all()
                self._go_on(at_once=at_once)

    def _go_on(self, *, at_once: bool) -> None:
        if self._loop is None or self._loop.is_closed():
            self.flush(_SHORT_PATIENCE_SECONDS)
        elif at_once:
            self.flush(0)
        elif not self._is_due:
            self._make_due(self._loop)

    def flush(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Write what is gathered, as far as it is taken within the time."""
        give_up_at = time.monotonic() + seconds
        with self._lock:
            self._make_all()
            self._close_piece()
            while not self._write_pieces():
                left = give_up_at - time.monotonic()
                if left <= 0:
                    return
                self._poll.poll(left * 1000)
            if self._untold:
                self._tell()
                self.flush(seconds)

    def _make_all(self) -> None:
        unmade, make = self._unmade, self._make
        while unmade:
            self._take(make(unmade.popleft()))

    def _take(self, line: bytes) -> None:
        length = len(line)
        if self._size + length > (BACKLOG_BYTES // 2 if self._untold else BACKLOG_BYTES):
            self.dropped += 1
            self._untold += 1
            return
        if self._untold:
            self._tell()
        if len(self._open) + length > PIECE_BYTES:
            self._close_piece()
            self._write_pieces()
        self._open += line
        self._size += length

    def _tell(self) -> None:
        untold, self._untold = self._untold, 0
        self._take(self._notice(untold))

    def _close_piece(self) -> None:
        if self._open:
            self._pieces.append(bytes(self._open))
            self._open.clear()

    def _make_due(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_due = True
        if threading.get_ident() == self._thread:
            self._call_later(loop)
        else:
            loop.call_soon_threadsafe(self._call_later, loop)

    def _call_later(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.call_later(DELAY_SECONDS, self._on_time)

    def _on_time(self) -> None:
        with self._lock:
            self._is_due = False
            self.flush(0)
            if self._size and self._loop is not None:
                self._is_due = True
                self._call_later(self._loop)

    def _write_pieces(self) -> bool:
        """Whether all are written; what cannot be is dropped."""
        while self._pieces:
            piece = self._pieces[0]
            try:
                written = self._send(piece)
            except BlockingIOError:
                return False
            except OSError:
                # Whoever read is gone, or the disk is full, and there is no other place to say it.
                self.dropped += piece.count(b"\n")
                written = len(piece)
            self._size -= written
            if written == len(piece):
                self._pieces.popleft()
            else:
                self._pieces[0] = piece[written:]
        return True


def _sender(descriptor: int) -> Callable[[bytes], int]:
    """What writes to it and raises BlockingIOError rather than wait.

    That a descriptor does not block holds for all processes that share it, the shell that started this one too: so a
    pipe or a terminal is opened once more, where that is allowed. A file is written to as it is.
    """
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISSOCK(mode):
        channel = socket.socket(fileno=os.dup(descriptor))
        return lambda piece: channel.send(piece, socket.MSG_DONTWAIT)
    if stat.S_ISFIFO(mode) or os.isatty(descriptor):
        try:
            own = os.open(
                f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            )
        except OSError:
            return partial(_write_if_ready, descriptor)
        return partial(os.write, own)
    return partial(os.write, descriptor)


def _write_if_ready(descriptor: int, piece: bytes) -> int:
    """Waits for nobody, but on old systems: there for who fills the pipe in the moment between the two calls."""
    if _NOWAIT is not None:
        try:
            return os.pwritev(descriptor, [piece], _AS_WRITE, _NOWAIT)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS, errno.ESPIPE):
                raise
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    if not poll.poll(0):
        raise BlockingIOError
    return os.write(descriptor, piece)
