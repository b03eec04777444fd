"""How a listener is given up without losing a connection that it has, or is about to have.

A listening socket that is closed resets what waits in its queue and what is in the middle of its handshake. So
first no new handshake begins, then whoever has come is let in and heard, and only then it may be closed.
"""

from __future__ import annotations

import array
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

_SO_ATTACH_FILTER: Final = 26
# Classic BPF, given a TCP header: load its flags; if SYN is among them, drop it, and otherwise let all of it pass.
_NO_SYN: Final = (0x30, 0, 0, 13), (0x45, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF)
_INSTRUCTION: Final = struct.Struct("HBBI")

# Linux's struct tcp_info: the state; milliseconds since data came; how many bytes have.
_TCP_INFO: Final = struct.Struct("=B51xI72xQ")
_ESTABLISHED: Final = 1


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
    told that there is none. It holds for all processes that share the socket. On a Unix socket it does nothing: there
    its name is removed. Neither does it where the system is not Linux.
    """
    if listener.family == socket.AF_UNIX or sys.platform != "linux":
        return
    program = array.array("B", b"".join(_INSTRUCTION.pack(*instruction) for instruction in _NO_SYN))
    address, _ = program.buffer_info()
    listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", len(_NO_SYN), address))


async def last_connections(listener: socket.socket, longest: float = LONGEST_SECONDS) -> None:
    """Wait until the queue is empty and whoever is new in this process has been heard; `longest` seconds at most.

    A server that stops closes connections on which nothing has come yet, and cuts off handshakes of TLS: their
    clients could not know whether to ask again.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + longest
    await asyncio.sleep(min(FIRST_SECONDS, longest))
    while loop.time() < end and (_has_queue(listener) or _anyone_new()):  # noqa: ASYNC110 - the kernel tells of it to nobody
        await asyncio.sleep(_LOOK_SECONDS)


def _has_queue(listener: socket.socket) -> bool:
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    return bool(poll.poll(0))


def _anyone_new() -> bool:
    if sys.platform != "linux":
        return False
    return any(_is_new(int(name)) for name in os.listdir("/proc/self/fd"))


def _is_new(descriptor: int) -> bool:
    """Whether it is a TCP connection on which a first request may be about to come."""
    try:
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM, fileno=descriptor)
    except OSError:  # no socket, or closed meanwhile
        return False
    try:
        information = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
    except OSError:  # of another kind
        return False
    finally:
        connection.detach()
    if len(information) < _TCP_INFO.size:  # of an old kernel
        return False
    state, silent, received = _TCP_INFO.unpack(information)
    limit = _PAUSE_MILLISECONDS if received else _FIRST_BYTE_MILLISECONDS
    return bool(state == _ESTABLISHED and received < _HEAD_BYTES and silent < limit)
