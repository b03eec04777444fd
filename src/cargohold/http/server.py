"""Starts the HTTP server on an address or a Unix socket, in as many processes as are asked for."""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import sys
from typing import TYPE_CHECKING

from cargohold.http.listen import address_of, listen_tcp, listen_unix
from cargohold.http.supervisor import Supervisor
from cargohold.http.worker import Work, work

if TYPE_CHECKING:
    import socket as sockets
    from collections.abc import Callable

    from cargohold.http.rsgi import RsgiApplication

_ENOUGH_DESCRIPTORS = 65536


def serve(  # noqa: PLR0913 - each is a switch of the command line
    application_factory: Callable[[], RsgiApplication],
    *,
    host: str = "127.0.0.1",
    port: int = 5000,
    socket: str | None = None,
    workers: int = 1,
    http2: bool = False,
    share_port: bool = False,
    stop_timeout: float = 30.0,
    ready: Callable[[str], None] | None = None,
) -> int:
    """Serve until a SIGTERM or SIGINT; gives the exit code of the program.

    `application_factory` is called once in each worker's process: what must not be shared (locks, threads) is
    made there, and modules are best imported before. With one worker the calling process serves by itself;
    with more it watches over them and replaces those that die. `socket` is the path of a Unix socket, instead
    of host and port; port 0 lets the kernel choose. `http2` adds HTTP/2 with prior knowledge. `share_port`
    lets another server that does so too listen on the port. `ready` is called with the address
    (`http://127.0.0.1:5000`) when all workers take requests. After the first signal no connection is taken
    and requests may go on for `stop_timeout` seconds; a second signal ends them.

    Says on stderr why it cannot listen, and gives 1.
    """
    try:
        listeners = (
            listen_unix(socket, workers) if socket else listen_tcp(host, port, workers, share=share_port)
        )
    except OSError as error:
        where = socket or f"{host}:{port}"
        sys.stderr.write(f"cargohold: cannot listen on {where}: {error.strerror}; choose another address\n")
        return 1
    address = address_of(listeners[0])
    _raise_descriptor_limit()
    gc.collect()
    gc.freeze()  # what is loaded stays in pages that the workers share

    def announce() -> None:
        if ready is not None:
            ready(address)

    task = Work(application_factory, http2, stop_timeout)
    try:
        return _run(task, listeners, announce)
    finally:
        if socket:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(socket)


def _run(task: Work, listeners: list[sockets.socket], ready: Callable[[], None]) -> int:
    if len(listeners) == 1:
        return work(task, listeners[0], ready)
    return Supervisor(task, listeners, ready).run()


def _raise_descriptor_limit() -> None:
    """A connection takes a descriptor, a transfer another: the usual soft limit of 1,024 is soon reached."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = _ENOUGH_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH_DESCRIPTORS)
    if soft < enough:
        resource.setrlimit(resource.RLIMIT_NOFILE, (enough, hard))
