"""How a listener is given up without losing a connection that it has, or is about to have.

A listening socket that is closed resets what waits in its queue and what is in the middle of its handshake. So
first no new handshake begins, then whoever has come is let in and heard, and only then it may be closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
import struct
import sys
from dataclasses import dataclass
from typing import Final, Self

FIRST_SECONDS: Final = 0.1  # for handshakes that are under way, which no process can see
LONGEST_SECONDS: Final = 2.0
_LOOK_SECONDS: Final = 0.02

# On a connection with no more than the head of a request: how long its client, having sent something, may pause.
_PAUSE_MILLISECONDS: Final = 100
_FIRST_BYTE_MILLISECONDS: Final = 2_000
_HEAD_BYTES: Final = 64 * 1024
# What a client's half of a handshake of TLS may come to: more with a certificate of its own, or keys of newer kinds.
_HANDSHAKE_BYTES: Final = 4 * 1024

# Linux's IP_MINTTL and IPV6_MINHOPCOUNT: what has fewer hops left to go is dropped. Nearly all systems send with 64 or
# 128, so nothing reaches a socket that asks for the most there can be. Unlike a filter it needs no privilege.
_FEWEST_HOPS: Final = {
    socket.AF_INET: [(socket.IPPROTO_IP, 21)],
    socket.AF_INET6: [(socket.IPPROTO_IP, 21), (socket.IPPROTO_IPV6, 73)],
}
_MOST_HOPS: Final = 255
# In which TCP sends again what has been dropped, where a connection was deaf at first.
_REPEAT_SECONDS: Final = 0.5

# Linux's struct tcp_info: the state; milliseconds since data came; how many bytes have.
_TCP_INFO: Final = struct.Struct("=B51xI72xQ")
_ESTABLISHED: Final = 1
_LISTENING: Final = 10


@dataclass(frozen=True)
class SocketFile:
    """The name of a Unix socket in the file system, and which file it was when the socket was bound."""

    path: str
    device: int
    inode: int

    @classmethod
    def at(cls, path: str) -> Self:
        """Raises OSError."""
        found = os.lstat(path)
        return cls(path, found.st_dev, found.st_ino)

    def remove(self) -> None:
        """Remove the name, unless it is another's by now."""
        with contextlib.suppress(FileNotFoundError):
            if self.at(self.path) == self:
                os.unlink(self.path)


def refuse(listener: socket.socket) -> None:
    """Let no handshake begin on a TCP listener; those that have begun come to their end.

    Whoever knocks gets no answer and knocks again after a second: he then comes to another server on the port, or is
    told that there is none. It holds for all processes that share the socket. Connections whose handshake ends after
    it are deaf until `last_connections` finds them. On a Unix socket it does nothing: there its name is removed.
    Neither does it where the system is not Linux. Raises OSError where the kernel does not let it.
    """
    if sys.platform == "linux":
        for level, option in _FEWEST_HOPS.get(listener.family, []):
            listener.setsockopt(level, option, _MOST_HOPS)


async def last_connections(
    listener: socket.socket, longest: float = LONGEST_SECONDS, *, secured: bool = False
) -> None:
    """Wait until the queue is empty and whoever is new in this process has been heard; `longest` seconds at most.

    A server that stops closes connections on which nothing has come yet, and cuts off handshakes of TLS: their
    clients could not know whether to ask again. On those that are `secured` by TLS the first bytes are its own.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + longest
    until = loop.time() + FIRST_SECONDS
    while True:
        is_waiting = _has_queue(listener)  # first: who is let in meanwhile is met below
        until = max(until, loop.time() + _longest_patience(_HANDSHAKE_BYTES if secured else 0))
        now = loop.time()
        if now >= end or (now >= until and not is_waiting):
            return
        await asyncio.sleep(_LOOK_SECONDS)


def _has_queue(listener: socket.socket) -> bool:
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    return bool(poll.poll(0))


def _longest_patience(greeting: int) -> float:
    if sys.platform != "linux":
        return 0.0
    return max(_patience(int(name), greeting) for name in os.listdir("/proc/self/fd"))


def _patience(descriptor: int, greeting: int) -> float:
    """Seconds to wait for what may be about to come on it, if it is a TCP connection; it is deaf no more.

    No request is among the first `greeting` bytes, as far as one can tell.
    """
    try:
        connection = socket.socket(fileno=descriptor)
    except OSError:  # no socket, or closed meanwhile
        return 0.0
    try:
        information = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
        if not information or information[0] == _LISTENING:
            return 0.0
        if _was_deaf(connection):
            return _REPEAT_SECONDS
    except OSError:  # of another kind, or closed meanwhile
        return 0.0
    finally:
        connection.detach()
    return _LOOK_SECONDS if _is_new(information, greeting) else 0.0


def _was_deaf(connection: socket.socket) -> bool:
    """Whether it has inherited from a listener that refuses to hear nothing, which it then does no longer."""
    inherited = [
        (level, option)
        for level, option in _FEWEST_HOPS.get(connection.family, [])
        if connection.getsockopt(level, option) == _MOST_HOPS
    ]
    for level, option in inherited:
        connection.setsockopt(level, option, 0)
    return bool(inherited)


def _is_new(information: bytes, greeting: int) -> bool:
    """Whether a first request may be about to come on the connection that this is the struct tcp_info of."""
    if len(information) < _TCP_INFO.size:  # of an old kernel
        return False
    state, silent, received = _TCP_INFO.unpack(information)
    limit = _PAUSE_MILLISECONDS if received > greeting else _FIRST_BYTE_MILLISECONDS
    return bool(state == _ESTABLISHED and received < _HEAD_BYTES and silent < limit)
