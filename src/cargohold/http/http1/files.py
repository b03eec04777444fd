"""Sends a file's bytes on a connection: from the system's memory to the socket, not through Python.

What is in the page cache is sent by the loop, at most a mebibyte at a time; what is not is read by a thread, so that a
disk keeps nobody waiting but who asked.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Self

THREADS: Final = 16
TURN_BYTES: Final = 1 << 20
PIECE_BYTES: Final = 256 * 1024
STALL_SECONDS: Final = 300.0
_NOT_IN_MEMORY: Final = {errno.EAGAIN, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}
_NOT_SENT_BY_SYSTEM: Final = {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}
# What not every system has.
_NOWAIT: Final[int | None] = getattr(os, "RWF_NOWAIT", None)
_MORE: Final[int] = getattr(socket, "MSG_MORE", 0)

_probe = bytearray(1)


class CutOffError(Exception):
    """The file has ended before its announced length, or the client takes no more of it."""


class Files:
    """Reads and sends files on the loop of one process."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, "files")

    def close(self) -> None:
        """Let go of the threads; those that hang on a dead disk are left behind."""
        self._threads.shutdown(wait=False)

    async def open(self, path: str) -> int:
        """A descriptor of the file. Raises OSError."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, os.open, path, os.O_RDONLY | os.O_CLOEXEC)

    async def read(self, file: int, start: int, count: int) -> bytes:
        """Its bytes from `start`, at most `count` and PIECE_BYTES. Raises CutOffError at its end, and OSError."""
        loop = asyncio.get_running_loop()
        piece = await loop.run_in_executor(self._threads, os.pread, file, min(count, PIECE_BYTES), start)
        if not piece:
            raise CutOffError("the file is shorter than it was")
        return piece

    async def send(self, outlet: Outlet, head: bytes, file: int, start: int, length: int) -> None:
        """Send the head of an answer, then `length` bytes of the file. Raises CutOffError, and OSError."""
        await outlet.write(head, more=length > 0)
        end = start + length
        while start < end:
            count = min(TURN_BYTES, end - start)
            try:
                sent = await self._send_some(outlet, file, start, count)
            except BlockingIOError:
                await outlet.is_free()
                continue
            except OSError as error:
                if error.errno not in _NOT_SENT_BY_SYSTEM:
                    raise
                sent = await self._send_copied(outlet, file, start, count)
            if not sent:
                raise CutOffError("the file is shorter than it was")
            start += sent
            if sent == count and start < end:
                await asyncio.sleep(0)  # others have their turn

    async def _send_some(self, outlet: Outlet, file: int, start: int, count: int) -> int:
        if _is_in_memory(file, start, count):
            return os.sendfile(outlet.descriptor, file, start, count)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, os.sendfile, outlet.descriptor, file, start, count)

    async def _send_copied(self, outlet: Outlet, file: int, start: int, count: int) -> int:
        """Send some of a file whose file system does not let the system do it."""
        piece = await self.read(file, start, count)
        await outlet.write(piece, more=False)
        return len(piece)


class Outlet:
    """A handle of a connection's socket for who writes past its transport, which must have nothing left to write.

    It is a descriptor of its own: the number of the transport's may be closed meanwhile, and be another's.
    """

    def __init__(self, connection: int) -> None:
        self.descriptor = os.dup(connection)
        self._socket = socket.socket(fileno=self.descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    async def write(self, content: bytes, *, more: bool) -> None:
        """Send it, together with what follows if there is `more`. Raises CutOffError, and OSError."""
        flags = _MORE if more else 0
        while content:
            try:
                content = content[self._socket.send(content, flags) :]
            except BlockingIOError:
                await self.is_free()

    async def is_free(self) -> None:
        """Wait until the socket takes more. Raises CutOffError where it takes nothing for minutes."""
        loop = asyncio.get_running_loop()
        free: asyncio.Future[None] = loop.create_future()
        loop.add_writer(self.descriptor, _resolve, free)
        try:
            async with asyncio.timeout(STALL_SECONDS):
                await free
        except TimeoutError:
            raise CutOffError(f"the client took nothing for {STALL_SECONDS:g} seconds") from None
        finally:
            loop.remove_writer(self.descriptor)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _is_in_memory(file: int, start: int, count: int) -> bool:
    """Whether the first and the last byte of a part are in the page cache, and so most likely what is between."""
    if _NOWAIT is None:
        return False
    try:
        return all(os.preadv(file, [_probe], at, _NOWAIT) for at in (start, start + count - 1))
    except OSError as error:
        if error.errno in _NOT_IN_MEMORY:
            return False
        raise
