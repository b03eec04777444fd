"""Starts the HTTP server on an address or a Unix socket, in as many processes as are asked for."""

from __future__ import annotations

import gc
import logging
import resource
import sys
from typing import TYPE_CHECKING

from cargohold.http.closing import SocketFile
from cargohold.http.listen import address_of, listen_tcp, listen_unix
from cargohold.http.notify import feed_watchdog, notify, watchdog_pause
from cargohold.http.redirect import Redirect
from cargohold.http.supervisor import Supervisor
from cargohold.http.tls import Tls, TlsError, load
from cargohold.http.worker import Pulse, Work, trim_heap, work

if TYPE_CHECKING:
    import socket as sockets
    from collections.abc import Callable

    from cargohold.http.application import Application
    from cargohold.http.chores import Chore

__all__ = ["Tls", "serve"]

_ENOUGH_DESCRIPTORS = 65536

_log = logging.getLogger(__name__)


def serve(  # noqa: PLR0913 - each is a switch of the command line
    application_factory: Callable[[int, float | None], Application],
    *,
    host: str = "127.0.0.1",
    port: int = 5000,
    socket: str | None = None,
    workers: int = 1,
    http2: bool = False,
    tls: Tls | None = None,
    redirect_port: int | None = None,
    public_url: str | None = None,
    share_port: bool = False,
    drain: float = 0.0,
    stop_timeout: float = 30.0,
    ready: Callable[[str], None] | None = None,
    chore: Chore | None = None,
) -> int:
    """Serve until a SIGTERM or SIGINT; gives the exit code of the program.

    `application_factory` is called once in each worker's process, with a small number that no other worker has
    meanwhile, and with the time (of the epoch) when the certificate that it serves expires, if it has one: what
    must not be shared (locks, threads) is made there, and modules are best imported before.
    With one worker the calling process serves by itself; with more, with `tls` or with a `chore`, it watches over them
    and replaces those that die. `socket` is the path of a Unix
    socket, instead of host and port; port 0 lets the kernel choose. `http2` adds HTTP/2, with prior knowledge
    or by ALPN. `share_port` lets another server that does so too listen on the port. `ready` is called with
    the address (`http://127.0.0.1:5000`) when all workers take requests; a service manager is told as well (`notify`).

    With the first signal the application is told to `leave`, and clients to end their connections; `drain` seconds
    later no more are taken, and requests may go on for `stop_timeout` seconds. A second signal ends them.

    With `tls`, a SIGHUP or new contents of its files renew the certificate: new connections get the new one,
    and what runs goes on. With `tls` on host and port, plain HTTP on `redirect_port` is sent to HTTPS: at the
    host and port of `public_url`, or else at the Host that the client names and `port`.

    Says on stderr why it cannot listen or what is wrong with the certificate, and gives 1.
    """
    try:
        credentials = load(tls) if tls else None
        if socket:
            listeners = _listen(socket, lambda: listen_unix(socket, workers))
        else:
            listeners = _listen(f"{host}:{port}", lambda: listen_tcp(host, port, workers, share=share_port))
        redirect = None
        if tls and redirect_port is not None and not socket:
            plain = _listen_plain(host, redirect_port, share=share_port)
            redirect = Redirect(plain, listeners[0].getsockname()[1], _authority(public_url))
    except (TlsError, _CannotListenError) as error:
        sys.stderr.write(f"cargohold: {error}\n")
        return 1
    address = address_of(listeners[0], "https" if tls else "http")
    _raise_descriptor_limit()
    gc.collect()
    trim_heap()
    gc.freeze()  # what is loaded stays in pages that the workers share

    def announce() -> None:
        if redirect is not None:
            _log.info("%s is sent to %s", address_of(redirect.listener), address)
        if ready is not None:
            ready(address)
        notify("READY=1")

    file = SocketFile.at(socket) if socket else None
    task = Work(application_factory, http2, drain, stop_timeout, credentials, redirect, file)
    try:
        return _run(task, listeners, announce, chore)
    finally:
        if file is not None:
            file.remove()


class _CannotListenError(Exception):
    """Why a listener cannot be had."""


def _listen(where: str, listen: Callable[[], list[sockets.socket]]) -> list[sockets.socket]:
    try:
        return listen()
    except OSError as error:
        raise _CannotListenError(
            f"cannot listen on {where}: {error.strerror}; choose another address"
        ) from error


def _listen_plain(host: str, port: int, *, share: bool) -> sockets.socket:
    try:
        return listen_tcp(host, port, 1, share=share)[0]
    except OSError as error:
        raise _CannotListenError(
            f"tls.redirect_port: cannot listen on {host}:{port}: {error.strerror}; choose another port"
        ) from error


def _authority(public_url: str | None) -> str | None:
    scheme, _, rest = (public_url or "").partition("://")
    return rest.partition("/")[0] if scheme == "https" else None


def _run(task: Work, listeners: list[sockets.socket], ready: Callable[[], None], chore: Chore | None) -> int:
    if len(listeners) == 1 and task.credentials is None and chore is None:
        pause = watchdog_pause()
        return work(task, listeners[0], ready, Pulse(pause, feed_watchdog) if pause else None)
    return Supervisor(task, listeners, ready, chore).run()


def _raise_descriptor_limit() -> None:
    """A connection takes a descriptor, a transfer another: the usual soft limit of 1,024 is soon reached."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = _ENOUGH_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH_DESCRIPTORS)
    if soft < enough:
        resource.setrlimit(resource.RLIMIT_NOFILE, (enough, hard))
