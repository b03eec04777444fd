"""One process that serves: an HTTP server on an event loop, until a signal lets what runs come to its end."""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import logging
import math
import os
import resource
import signal
import sys
import time
from asyncio import new_event_loop
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from cargohold.http.closing import LONGEST_SECONDS, last_connections, refuse
from cargohold.http.http1.server import Http1Server
from cargohold.http.notify import notify_stop

with suppress(ImportError):  # by an interpreter that it is not made for
    from uvloop import new_event_loop

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from cargohold.http.application import Application
    from cargohold.http.closing import SocketFile
    from cargohold.http.redirect import Redirect
    from cargohold.http.tls import Credentials

# Of one worker; more wait until one of these ends. Idle ones count, so there are many; each may hold buffers without
# a login, so there are no more.
MAX_CONNECTIONS = 1024
_OWN_DESCRIPTORS = 32  # of a worker that serves nobody, and some to spare
# Of all connections, and of the files that are open for them: a transfer has one or two, a push of a manifest many.
_USUAL_DESCRIPTORS = 4096
RETIRE = signal.SIGUSR1
END = signal.SIGUSR2
# What a handshake may take (10) and then the head of a request (10): a connection has been used by then.
RETIREMENT_SECONDS = 25.0
KILL_AFTER_SECONDS = 5.0
# A signal that comes again so soon is the same: launchers hand it on, and the terminal has sent it to all.
ECHO_SECONDS = 0.25
_LAST_REQUESTS_SECONDS = 2.0
_OVERTIME_SECONDS = 5
# How long a supervised worker that was told to stop waits for word that all are to: it may have been told alone.
_WORD_SECONDS = 1.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Work:
    """What a worker is to serve, and how.

    `application_factory` is called in the worker's own process, with the worker's place, and with the time (of the
    epoch) when its certificate expires. For `drain` seconds after
    a stop was asked for connections are still taken; `stop_timeout` (seconds) bounds how long requests may go on
    after that. With `credentials` the connections are secured with TLS. `socket_file` is the name of the listener,
    if it is a Unix socket.
    """

    application_factory: Callable[[int, float | None], Application]
    http2: bool
    drain: float
    stop_timeout: float
    credentials: Credentials | None = None
    redirect: Redirect | None = None
    socket_file: SocketFile | None = None

    @property
    def ends_with_terminal(self) -> bool:
        """Whether a SIGHUP says that the terminal is gone, from which the server was started."""
        return self.credentials is None and sys.stdin is not None and sys.stdin.isatty()

    @property
    def longest_stop(self) -> float:
        """Seconds after which nothing is left of a server that was told to stop."""
        return self.drain + self.stop_timeout + KILL_AFTER_SECONDS

    def refuse(self, *listeners: socket.socket) -> None:
        """Let no more connections begin, in any process that shares these sockets.

        Where the system does not let it they go on to begin until the sockets are closed.
        """
        if self.socket_file is not None:
            self.socket_file.remove()
        redirect = [] if self.redirect is None else [self.redirect.listener]
        try:
            for listener in (*redirect, *listeners):
                refuse(listener)
        except OSError as error:
            _log.info("connections that come in the moment of the stop may be reset: %s", error.strerror)


class HttpServer(Protocol):
    """What serves an application to the clients of a listener."""

    async def serve(self, ready: Callable[[], None]) -> None:
        """Serve until it is stopped and what runs has ended; `ready` is called when connections are taken."""
        ...

    def stop(self) -> None:
        """Take no more connections, and let those that there are end with the request that they are at."""
        ...

    def listener(self) -> socket.socket:
        """Another handle of the socket, to be closed; not to be had once the server has ended."""
        ...

    def take_no_more(self) -> None:
        """Leave new connections to other processes that listen; those that are open go on."""
        ...


class Pulse(NamedTuple):
    """`beat` is called every so many seconds, for as long as the loop turns."""

    seconds: float
    beat: Callable[[], None]


def trim_heap() -> None:
    """Give back to the system what the start has used and freed: megabytes, which no C library does by itself."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # it is glibc's
    if trim is not None:
        trim(0)


def make_room_for_descriptors(opened: int) -> None:
    """Have the system make the table of open files as large as it will be wanted, while there is no second thread.

    It doubles it when it is full, and with more than one thread whoever opens a file waits for that: 10 to 20
    milliseconds, in which an event loop serves nobody. Here it takes some microseconds, and 32 KiB. `opened` is any
    open descriptor.
    """
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = _USUAL_DESCRIPTORS if most == resource.RLIM_INFINITY else min(most, _USUAL_DESCRIPTORS)
    with suppress(OSError):  # the table grows then when it must
        os.close(fcntl.fcntl(opened, fcntl.F_DUPFD_CLOEXEC, highest - 1))


def say_nothing_is_renewed() -> None:
    """Answer a SIGHUP where there is no TLS."""
    _log.info("a SIGHUP renews the certificate, and there is none: nothing is done")


def work(  # noqa: PLR0913 - what a process must know
    task: Work,
    listener: socket.socket,
    ready: Callable[[], None],
    pulse: Pulse | None = None,
    *,
    place: int = 0,
    lifeline: int | None = None,
) -> int:
    """Serve on `listener` until a SIGTERM, then let what runs come to its end; gives the process's exit code.

    `place` is a small number that no other worker of the server has meanwhile; who follows a worker that ended
    may have the same. `ready` is called when requests are taken. Where there is a supervisor, `lifeline` is a
    descriptor that becomes readable when it dies, which stops the worker too, and a SIGINT is left to the
    supervisor. That one sends END, after a SIGTERM, when no more connections come; and it sends RETIRE when another
    worker listens on the socket: then this one takes no more connections, and ends with those that it has. Without
    a supervisor a SIGINT stops like a SIGTERM, and a second signal ends the process at once.
    """
    make_room_for_descriptors(listener.fileno())
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(_work(task, listener, ready, pulse, place=place, lifeline=lifeline))


async def _work(  # noqa: PLR0913 - as `work`
    task: Work,
    listener: socket.socket,
    ready: Callable[[], None],
    pulse: Pulse | None,
    *,
    place: int,
    lifeline: int | None,
) -> int:
    loop = asyncio.get_running_loop()
    told = _Told()
    told.listen(loop, lifeline, hangs_up=task.ends_with_terminal)
    expires = None if task.credentials is None else task.credentials.expires
    application = task.application_factory(place, expires)
    application.start(loop)
    trim_heap()
    if pulse is not None:
        loop.create_task(_beat(pulse))  # noqa: RUF006 - it is referred to in the next line
    others = asyncio.all_tasks(loop)  # than those of requests
    server = _server(task, application, listener)
    if task.redirect is not None:
        await task.redirect.start()
    serving = asyncio.create_task(server.serve(ready))
    await _first(serving, told.leave, told.retire)
    if told.retire.is_set():
        await _retire(task, application, server, serving, told)
    elif told.leave.is_set():
        await _leave(task, application, serving, told, alone=lifeline is None)
    end = loop.time() + task.stop_timeout
    # Whatever hangs past the time limit, a thread on a dead disk perhaps, ends with the process.
    signal.signal(signal.SIGALRM, lambda *_: _exit(0))
    signal.alarm(math.ceil(task.stop_timeout) + _OVERTIME_SECONDS)
    if not (serving.done() or told.retire.is_set()):
        await _take_the_last(task, server, alone=lifeline is None)
    server.stop()
    await asyncio.wait({serving}, timeout=max(0.0, end - loop.time()))
    if serving.done():
        await _end_of(asyncio.all_tasks() - others)
        application.stop(loop)
        if task.redirect is not None:
            task.redirect.close()
        serving.result()
        return 0 if told.leave.is_set() or told.retire.is_set() else 1
    _log.warning("requests still ran %g seconds after the stop: they are cut off", task.stop_timeout)
    application.stop(loop)
    _exit(0)
    return 0


def _server(task: Work, application: Application, listener: socket.socket) -> HttpServer:
    most = _most_connections()
    if task.http2:
        from cargohold.http.http2 import Http2Server  # noqa: PLC0415 - of some size, and seldom wanted

        return Http2Server(application, listener, most=most, credentials=task.credentials)
    tls = None if task.credentials is None else task.credentials.context()
    return Http1Server(application, listener, most=most, tls=tls)


async def _leave(
    task: Work, application: Application, serving: asyncio.Task[None], told: _Told, *, alone: bool
) -> None:
    """Say that the server goes, and serve on until no more connections come."""
    application.leave()
    if alone:
        notify_stop(task.longest_stop)
    await _first(serving, told.end, timeout=task.drain if alone else task.drain + _WORD_SECONDS)


async def _take_the_last(task: Work, server: HttpServer, *, alone: bool) -> None:
    """Serve those who were about to come; a supervisor has seen to it that nobody else does."""
    with server.listener() as listener:
        if alone:
            task.refuse(listener)
        secured = task.credentials is not None
        await last_connections(listener, min(LONGEST_SECONDS, task.stop_timeout), secured=secured)
    if task.redirect is not None:
        task.redirect.close()


async def _retire(
    task: Work, application: Application, server: HttpServer, serving: asyncio.Task[None], told: _Told
) -> None:
    """Let connections end: first as their clients like, then the idle ones; a request takes the time it takes."""
    if task.redirect is not None:
        task.redirect.close()
    application.end_connections()
    server.take_no_more()
    await _first(serving, told.leave, timeout=RETIREMENT_SECONDS)
    server.stop()
    await _first(serving, told.leave)


async def _first(serving: asyncio.Task[None], *events: asyncio.Event, timeout: float | None = None) -> None:  # noqa: ASYNC109 - what it bounds does not fail
    """Wait until the server has ended, an event has come, or the time (seconds) is over."""
    waits = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait({serving, *waits}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()


async def _beat(pulse: Pulse) -> None:
    while True:
        await asyncio.sleep(pulse.seconds)
        pulse.beat()


async def _end_of(requests: set[asyncio.Task[Any]]) -> None:
    """Let requests come to their end whose connection is no more: no server waits for them."""
    if requests:
        await asyncio.wait(requests, timeout=_LAST_REQUESTS_SECONDS)


class _Told:
    """What signals have told this process: to leave, to end, to retire."""

    def __init__(self) -> None:
        self.leave, self.end, self.retire = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._left_at = 0.0

    def listen(self, loop: asyncio.AbstractEventLoop, lifeline: int | None, *, hangs_up: bool) -> None:
        """Heed signals from now on; under a supervisor, only what it says."""
        if lifeline is None:
            if not hangs_up:
                loop.add_signal_handler(signal.SIGHUP, say_nothing_is_renewed)
            loop.add_signal_handler(signal.SIGTERM, self._interrupt)
            loop.add_signal_handler(signal.SIGINT, self._interrupt)
            return
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        loop.add_signal_handler(RETIRE, self.retire.set)
        loop.add_signal_handler(signal.SIGTERM, self.leave.set)
        loop.add_signal_handler(END, self._end)
        loop.add_reader(lifeline, self._end)

    def _interrupt(self) -> None:
        if not self.leave.is_set():
            self._left_at = time.monotonic()
            self.leave.set()
        elif time.monotonic() - self._left_at > ECHO_SECONDS:
            _exit(1)

    def _end(self) -> None:
        self.leave.set()
        self.end.set()


def _exit(code: int) -> None:
    """End the process without waiting for threads, which may be in the middle of a transfer."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _most_connections() -> int:
    """A connection takes a descriptor, and its transfer others: the server would spin where none is left."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return min(MAX_CONNECTIONS, max((descriptors - _OWN_DESCRIPTORS) // 4, 1))
