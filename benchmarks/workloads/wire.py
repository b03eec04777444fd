"""One client's connection for blobs of any size: the least that a client can do, so that it is never what is measured.

A request costs it some 10 us, and a GiB under 0.15 s of processor time: heads are written and searched as bytes, bodies
go from the kernel's memory to the kernel's socket, and what comes goes into one buffer.
"""

from __future__ import annotations

import mmap
import os
import re
import socket
import struct
from functools import cache
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from benchmarks.load.connection import new_buffer, with_digest
from benchmarks.outcome import MIB

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.content import Blob

_TIMEOUT_SECONDS = 120
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_LOCATION = re.compile(rb"\r\nlocation: *([^\r]*)", re.IGNORECASE)
_ANY_TYPE = "Content-Type: application/octet-stream"
# What a client written in Go sends at once of a body whose length it does not tell.
_FRAME_BYTES = 32 << 10
_FRAMES_AT_ONCE = MIB // _FRAME_BYTES


class Wire:
    """Speaks HTTP/1.1 to 127.0.0.1:port, one request at a time.

    Raises RuntimeError where an answer has another status than is expected, or no length; ConnectionError; and
    BlockingIOError where nothing moves for two minutes.
    """

    def __init__(self, port: int) -> None:
        self._bytes = new_buffer()
        self._buffer = memoryview(self._bytes)
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # The kernel's time limits: those of Python make the socket one that sendfile does not wait for.
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self._socket.setsockopt(socket.SOL_SOCKET, option, struct.pack("@ll", _TIMEOUT_SECONDS, 0))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self, expected: int, method: str, path: str, *headers: str) -> bytes:
        """A request without a body; the head of the answer, whose body is read and dropped."""
        self._head(method, path, *headers)
        return self._answer(expected)[0]

    def read(
        self, expected: int, path: str, *headers: str, take: Callable[[memoryview], object] | None = None
    ) -> int:
        """GET, and drop what comes, after `take` has seen it; the number of bytes."""
        self._head("GET", path, *headers)
        return self._answer(expected, take)[1]

    def push(self, repository: str, blob: Blob) -> None:
        """POST, then PUT with the whole blob ("Pushing a blob monolithically")."""
        location = self._start_upload(repository)
        self._send("PUT", with_digest(location, blob.digest), blob, 0, blob.size)
        self._answer(201)

    def push_in_chunks(self, repository: str, blob: Blob, chunk: int) -> None:
        """POST, a PATCH for each `chunk` bytes, then PUT ("Pushing a blob in chunks")."""
        location = self._start_upload(repository)
        for start in range(0, blob.size, chunk):
            stop = min(start + chunk, blob.size)
            self._send("PATCH", location, blob, start, stop, f"Content-Range: {start}-{stop - 1}")
            location = _location(self._answer(202)[0])
        self._end_upload(location, blob)

    def push_streamed(self, repository: str, blob: Blob) -> None:
        """POST, one PATCH whose length is not told beforehand (chunked transfer coding), then PUT: as docker does."""
        location = self._start_upload(repository)
        self._head("PATCH", location, _ANY_TYPE, "Transfer-Encoding: chunked", is_more=True)
        shared = memoryview(_mapped(blob.path))[: blob.shared]
        frames = [shared[start : start + _FRAME_BYTES] for start in range(0, blob.shared, _FRAME_BYTES)]
        for first in range(0, len(frames), _FRAMES_AT_ONCE):
            self._send_frames(frames[first : first + _FRAMES_AT_ONCE])
        self._send_frames([memoryview(blob.tail), memoryview(b"")])
        self._end_upload(_location(self._answer(202)[0]), blob)

    def _start_upload(self, repository: str) -> str:
        return _location(self.ask(202, "POST", f"/v2/{repository}/blobs/uploads/", "Content-Length: 0"))

    def _end_upload(self, location: str, blob: Blob) -> None:
        self.ask(201, "PUT", with_digest(location, blob.digest), "Content-Length: 0")

    def _send(self, method: str, path: str, blob: Blob, start: int, stop: int, *headers: str) -> None:
        """A request whose body is a part of a blob."""
        self._head(method, path, _ANY_TYPE, f"Content-Length: {stop - start}", *headers, is_more=True)
        with open(blob.path, "rb", buffering=0) as file:
            at, shared = start, min(stop, blob.shared)
            while at < shared:
                at += os.sendfile(self._socket.fileno(), file.fileno(), at, shared - at)
        self._socket.sendall(blob.tail[max(start - blob.shared, 0) : max(stop - blob.shared, 0)])

    def _send_frames(self, frames: list[memoryview]) -> None:
        parts = [part for frame in frames for part in (b"%x\r\n" % len(frame), frame, b"\r\n")]
        sent = self._socket.sendmsg(parts)
        if sent != sum(map(len, parts)):
            raise TimeoutError("the server does not take what is sent")

    def _head(self, method: str, path: str, *headers: str, is_more: bool = False) -> None:
        lines = (f"{method} {path} HTTP/1.1", "Host: localhost", *headers, "\r\n")
        self._socket.sendall("\r\n".join(lines).encode(), socket.MSG_MORE if is_more else 0)

    def _answer(self, expected: int, take: Callable[[memoryview], object] | None = None) -> tuple[bytes, int]:
        """The head of the answer, and the number of bytes of its body."""
        got, end = 0, -1
        while end < 0:
            got += self._receive(got)
            end = self._bytes.find(b"\r\n\r\n", 0, got)
        head = bytes(self._buffer[: end + 2])
        length = _LENGTH.search(head)
        if not head.startswith(b"HTTP/1.1 %d " % expected) or length is None:
            raise RuntimeError(f"no answer of {expected} with a length: {self._bytes[: min(got, 1000)]!r}")
        body = self._buffer[end + 4 : got]
        left = int(length[1])
        while True:
            left -= len(body)
            if take is not None:
                take(body)
            if not left:
                return head, int(length[1])
            body = self._buffer[: self._receive(0, left)]

    def _receive(self, at: int, most: int = MIB) -> int:
        got = self._socket.recv_into(self._buffer[at:], min(most, len(self._buffer) - at))
        if not got:
            raise ConnectionResetError("the server has closed the connection")
        return got


def _location(head: bytes) -> str:
    found = _LOCATION.search(head)
    if found is None:
        raise RuntimeError(f"no location in {head!r}")
    parts = urlsplit(found[1].decode())
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


@cache
def _mapped(path: str) -> mmap.mmap:
    """A file's bytes, without a copy; kept as long as the process."""
    with open(path, "rb") as file:
        return mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
