"""Where the registry listens: sockets that are bound once, in the process that the workers are forked from.

Each worker has a socket of its own, and the kernel spreads the connections over them. The first is bound
alone, so that a second server on the port is told so (SO_REUSEPORT from the start would let both run, each
with half of the connections); it outlives its worker, so that connections that wait are taken by the worker
that follows.
"""

from __future__ import annotations

import os
import socket
import stat
from typing import Final

BACKLOG: Final = 1024
SEND_STALL_MILLISECONDS: Final = 300_000
_KEEPALIVE_SECONDS: Final = 60


def listen_tcp(host: str, port: int, count: int, *, share: bool = False) -> list[socket.socket]:
    """`count` sockets that listen on one address; port 0 lets the kernel choose.

    `share` allows other servers on the same port (a planned second instance); without it, OSError
    (EADDRINUSE) is raised where one listens already. Raises OSError for whatever else is in the way.
    """
    family, _, _, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    sockets: list[socket.socket] = []
    try:
        for _ in range(count):
            listener = _tcp_socket(family)
            sockets.append(listener)
            if sockets[0] is not listener or share:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.bind(address)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            address = listener.getsockname()
        for listener in sockets:
            listener.listen(BACKLOG)
    except OSError:
        for listener in sockets:
            listener.close()
        raise
    return sockets


def listen_unix(path: str, count: int) -> list[socket.socket]:
    """`count` handles of one listening Unix socket; a socket that a dead server left at `path` is replaced.

    Raises OSError (EADDRINUSE) where a server answers at `path`, or where what is there is no socket.
    """
    if _is_left_over(path):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(path)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return [listener, *(listener.dup() for _ in range(count - 1))]


def is_served(path: str) -> bool:
    """Whether a server has the Unix socket at `path`, or it was left by one that has died.

    It is not waited for: a server that takes no connections, since its queue is full, has the socket too. Raises
    OSError where there is none, or it cannot be asked.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return False
        except BlockingIOError:
            return True
    return True


def address_of(listener: socket.socket, scheme: str = "http") -> str:
    """The address for people: `http://127.0.0.1:5000`, `https://[::1]:5000` or `unix:/run/cargohold.sock`."""
    name = listener.getsockname()
    if listener.family == socket.AF_UNIX:
        return f"unix:{name}"
    host = f"[{name[0]}]" if listener.family == socket.AF_INET6 else name[0]
    return f"{scheme}://{host}:{name[1]}"


def _tcp_socket(family: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Connections inherit these: small answers leave at once; a client that vanished is noticed; one that takes
    # nothing of its download for minutes loses it, and with it the file and the buffers that it holds.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_SECONDS)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SEND_STALL_MILLISECONDS)
    return listener


def _is_left_over(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.lstat(path).st_mode) and not is_served(path)
    except FileNotFoundError:
        return False
