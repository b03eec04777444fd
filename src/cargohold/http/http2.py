"""HTTP/2, and HTTP/1.1 on the same port, by granian in this process."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from granian._granian import SocketHolder
from granian.constants import HTTPModes
from granian.http import HTTP1Settings, HTTP2Settings
from granian.log import LogLevels
from granian.server.embed import Server

from cargohold.http.listen import BACKLOG
from cargohold.http.rsgi import Rsgi

if TYPE_CHECKING:
    from collections.abc import Callable

    from cargohold.http.application import Application
    from cargohold.http.tls import Credentials

# For a request's head, from the connection or the answer before it: who is silent gives way to those that wait.
HEAD_MILLISECONDS = 10_000
# Of one connection: what a stalled transfer may hold. Uploads are no faster with more.
BUFFER_BYTES = 128 * 1024
FILE_THREADS = 16
PING_MILLISECONDS = 30_000

# Granian's stubs leave out the parameters: descriptor, whether of a Unix socket, backlog.
_open_socket = cast("Callable[[int, bool, int], Any]", SocketHolder)


class Http2Server:
    """Serves `application` to the clients of `listener`, secured by `credentials` where they are given.

    At most `most` connections at once; more wait in the listener's queue.
    """

    def __init__(
        self, application: Application, listener: socket.socket, *, most: int, credentials: Credentials | None
    ) -> None:
        self._application = application
        self._is_unix = listener.family == socket.AF_UNIX
        self._descriptor = listener.detach()  # granian closes it
        self._ready: Callable[[], None] = lambda: None
        # Granian's own end comes before that of requests whose client has gone: the application's comes after both.
        target = SimpleNamespace(
            __rsgi__=Rsgi(application).__rsgi__,
            __rsgi_init__=lambda loop: loop.call_soon(self._ready),
            __rsgi_del__=lambda _loop: None,
        )
        logging.getLogger("_granian").addFilter(_is_news)
        self._granian = _Granian(target, self._descriptor, most, credentials, is_unix=self._is_unix)

    async def serve(self, ready: Callable[[], None]) -> None:
        """Serve until it is stopped and what runs has ended; `ready` is called when connections are taken."""
        self._ready = ready
        await self._granian.serve()

    def stop(self) -> None:
        """Take no more connections, and let those that there are end with the request that they are at."""
        self._granian.stop()  # type: ignore[no-untyped-call] # granian leaves it so

    def listener(self) -> socket.socket:
        """Another handle of the socket, to be closed; not to be had once the server has ended."""
        return socket.socket(fileno=os.dup(self._descriptor))

    def take_no_more(self) -> None:
        """Leave new connections to other processes that listen; those that are open go on.

        Granian can only stop whole, and then cuts off whoever is in the middle of a handshake. So the kernel
        is asked to tell it of no more connections, through the epoll descriptor on which it waits for them.
        """
        for name in os.listdir("/proc/self/fdinfo"):
            with contextlib.suppress(FileNotFoundError), open(f"/proc/self/fdinfo/{name}") as file:
                waits = [line.split()[1] for line in file if line.startswith("tfd:")]
                if str(self._descriptor) in waits:
                    with select.epoll.fromfd(os.dup(int(name))) as poll:
                        poll.unregister(self._descriptor)
                    return


class _Granian(Server):
    """Granian on a socket that is open already."""

    def __init__(
        self,
        target: SimpleNamespace,
        descriptor: int,
        most: int,
        credentials: Credentials | None,
        *,
        is_unix: bool,
    ) -> None:
        super().__init__(
            target=target,
            http=HTTPModes.auto,
            websockets=False,
            backpressure=most,
            runtime_blocking_threads=FILE_THREADS,
            http1_settings=HTTP1Settings(max_buffer_size=BUFFER_BYTES, header_read_timeout=HEAD_MILLISECONDS),
            http2_settings=HTTP2Settings(
                max_frame_size=BUFFER_BYTES,
                max_headers_size=BUFFER_BYTES,
                keep_alive_interval=PING_MILLISECONDS,
            ),
            log_level=LogLevels.warning,
            # Incremental: the handlers stay the application's own, and granian's lines go to them.
            log_dictconfig={
                "incremental": True,
                "handlers": {},
                "loggers": {"_granian": {"propagate": True}},
            },
        )
        self._descriptor, self._is_unix = descriptor, is_unix
        if credentials is not None:
            # What granian would make of the files itself, but of contents that cannot change meanwhile.
            certificate, key, client_ca = credentials.files()
            tls = credentials.tls
            must = tls.client_certificates == "require"
            self.ssl_ctx: Any = (True, certificate, key, None, f"tls{tls.minimum}", client_ca, [], must)

    def _init_shared_socket(self) -> None:
        self._shd: Any = _open_socket(self._descriptor, self._is_unix, BACKLOG)


def _is_news(record: logging.LogRecord) -> bool:
    return "experimental" not in record.getMessage()  # that the embedded server is so is said at every start
