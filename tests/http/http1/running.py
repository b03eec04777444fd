"""The HTTP/1.1 server in a thread of the test, on either event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import queue
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import uvloop

from cargohold.http.application import Application
from cargohold.http.exchange import answer_faults
from cargohold.http.http1.server import Http1Server
from tests.http.serving import until
from tests.http.wire import Wire

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    from cargohold.messages import Answer, Request

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "uvloop": uvloop.new_event_loop,
    "asyncio": asyncio.SelectorEventLoop,
}
STALL_SECONDS = 1.0
MEBIBYTE = 1 << 20
GET = b"GET /v2/ HTTP/1.1\r\nHost: a\r\n\r\n"
uvloop.new_event_loop().close()  # the first opens a pipe, for good
_WAIT_SECONDS = 30.0

T = TypeVar("T")
Handler = Callable[["Request"], Awaitable["Answer"]]


class Running:
    """A server at work, its address and its loop, to be looked at from the test's thread.

    `faults` are what the loop and the log have complained of; a test that expects some takes them away.
    """

    def __init__(self, server: Http1Server, address: str, loop: asyncio.AbstractEventLoop) -> None:
        self.server = server
        self.address = address
        self.loop = loop
        self.faults: list[str] = []

    def connect(self, **options: Any) -> Wire:
        """A new connection."""
        return Wire(self.address, **options)

    def on_loop(self, look: Callable[[], T]) -> T:
        """What `look` gives, called by the loop."""

        async def call() -> T:
            return look()

        return asyncio.run_coroutine_threadsafe(call(), self.loop).result(_WAIT_SECONDS)

    def until_no_connection(self) -> None:
        """Wait until the server has none, and no task but its own."""
        until(lambda: not self.server.connections and self.on_loop(lambda: len(asyncio.all_tasks())) <= 2)


@contextlib.contextmanager
def running(
    handler: Handler,
    loop: str = "uvloop",
    *,
    most: int = 1000,
    checked: bool = True,
    tls: ssl.SSLContext | None = None,
) -> Iterator[Running]:
    """Serve until the test is over; then nothing may be left, neither connections nor descriptors nor complaints.

    What the handler gives is `checked` as it is in the registry, unless the test is of what gets past that.
    """
    descriptors = len(os.listdir("/proc/self/fd"))
    ready: queue.SimpleQueue[Running] = queue.SimpleQueue()
    application = Application(answer_faults(handler) if checked else handler, stall_timeout=STALL_SECONDS)

    async def serve() -> None:
        listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        server = Http1Server(application, listener, most=most, tls=tls)
        started = Running(server, address, asyncio.get_running_loop())
        started.loop.set_exception_handler(lambda _, context: started.faults.append(str(context)))
        await server.serve(lambda: ready.put(started))

    def run() -> None:
        with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
            runner.run(serve())

    thread = threading.Thread(target=run)
    thread.start()
    started = ready.get(timeout=_WAIT_SECONDS)
    complaints = _Complaints(started.faults)
    logging.getLogger().addHandler(complaints)
    try:
        yield started
        if not started.server.is_stopping:
            started.until_no_connection()
    finally:
        if not started.server.is_stopping:
            started.loop.call_soon_threadsafe(started.server.stop)
        thread.join(_WAIT_SECONDS)
        logging.getLogger().removeHandler(complaints)
    assert not thread.is_alive()
    assert started.faults == []
    until(lambda: len(os.listdir("/proc/self/fd")) <= descriptors)


def ended_after(wire: Wire) -> float:
    """Seconds until the server ends the connection."""
    start = time.monotonic()
    assert wire.closed()
    return time.monotonic() - start


class _Complaints(logging.Handler):
    """Keeps what is logged as a warning or worse."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._faults = faults

    def emit(self, record: logging.LogRecord) -> None:
        self._faults.append(self.format(record))
