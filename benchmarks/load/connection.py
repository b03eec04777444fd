"""One client's connection: a blob's bytes go from the kernel's memory to the kernel's socket, not through Python."""

from __future__ import annotations

import http.client
import os
import socket
import struct
from typing import TYPE_CHECKING, NamedTuple, Self
from urllib.parse import urlsplit

from benchmarks.content import MANIFEST_TYPE
from benchmarks.outcome import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import BinaryIO

    from benchmarks.content import Blob

_TIMEOUT_SECONDS = 120


class Reply(NamedTuple):
    """An answer; its body is read."""

    headers: http.client.HTTPMessage
    body: bytes


class Connection:
    """Speaks HTTP/1.1 to 127.0.0.1:port. An answer of another status than is expected raises RuntimeError.

    Each request bears the `headers`, such as a login.
    """

    def __init__(self, port: int, headers: Mapping[str, str] | None = None) -> None:
        self._headers = dict(headers or {})
        self._http = http.client.HTTPConnection("127.0.0.1", port)
        self._http.connect()
        # The kernel's time limits: those of Python make the socket one that sendfile does not wait for.
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self._http.sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("@ll", _TIMEOUT_SECONDS, 0))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def ask(
        self,
        expected: int,
        method: str,
        path: str,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """One request with its body in memory."""
        self._http.request(method, path, body, {**self._headers, **(headers or {})})
        return self._reply(expected)

    def _reply(self, expected: int) -> Reply:
        answer = self._http.getresponse()
        body = answer.read()
        if answer.status != expected:
            raise RuntimeError(f"status {answer.status} where {expected} was expected: {body[:500]!r}")
        return Reply(answer.headers, body)

    def start_upload(self, repository: str) -> str:
        """The address of a new upload session."""
        return _location(self.ask(202, "POST", f"/v2/{repository}/blobs/uploads/"))

    def begin(self, method: str, path: str, length: int, headers: Mapping[str, str] | None = None) -> None:
        """The head of a request; `length` bytes of body are to be sent, then `finish` called."""
        self._http.putrequest(method, path, skip_accept_encoding=True)
        for name, value in {"content-length": str(length), **self._headers, **(headers or {})}.items():
            self._http.putheader(name, value)
        self._http.endheaders()

    def send(self, file: BinaryIO, start: int, stop: int) -> None:
        """A part of a file."""
        while start < stop:
            start += os.sendfile(self._http.sock.fileno(), file.fileno(), start, stop - start)

    def send_bytes(self, content: bytes) -> None:
        """Bytes that are in memory."""
        self._http.sock.sendall(content)

    def finish(self, expected: int) -> Reply:
        """The answer to the request that was begun."""
        return self._reply(expected)

    def push_blob(self, repository: str, blob: Blob) -> None:
        """POST, then PUT with the whole blob ("Pushing a blob monolithically")."""
        location = self.start_upload(repository)
        with open(blob.path, "rb", buffering=0) as file:
            self.begin("PUT", with_digest(location, blob.digest), blob.size)
            self.send(file, 0, blob.shared)
            self.send_bytes(blob.tail)
        self.finish(201)

    def push_blob_in_chunks(self, repository: str, blob: Blob, chunk: int) -> None:
        """POST, a PATCH for each chunk, then PUT ("Pushing a blob in chunks")."""
        location = self.start_upload(repository)
        with open(blob.path, "rb", buffering=0) as file:
            for start in range(0, blob.size, chunk):
                stop = min(start + chunk, blob.size)
                headers = {"content-range": f"{start}-{stop - 1}", "content-type": "application/octet-stream"}
                self.begin("PATCH", location, stop - start, headers)
                self.send(file, start, min(stop, blob.shared))
                if stop > blob.shared:
                    self.send_bytes(blob.tail[max(start - blob.shared, 0) : stop - blob.shared])
                location = _location(self.finish(202))
        self.ask(201, "PUT", with_digest(location, blob.digest))

    def push_manifest(self, repository: str, reference: str, manifest: bytes) -> None:
        """PUT."""
        path = f"/v2/{repository}/manifests/{reference}"
        self.ask(201, "PUT", path, body=manifest, headers={"content-type": MANIFEST_TYPE})

    def download(
        self, path: str, buffer: bytearray, take: Callable[[memoryview], object] | None = None
    ) -> int:
        """GET, and drop what comes, after `take` has seen it; the number of bytes."""
        self._http.request("GET", path, headers=self._headers)
        answer = self._http.getresponse()
        if answer.status != 200:
            raise RuntimeError(f"status {answer.status} where 200 was expected: {answer.read(500)!r}")
        view, length = memoryview(buffer), 0
        while piece := answer.readinto(buffer):
            length += piece
            if take is not None:
                take(view[:piece])
        return length


def new_buffer() -> bytearray:
    """What `download` reads into; each client has one."""
    return bytearray(MIB)


def _location(reply: Reply) -> str:
    parts = urlsplit(reply.headers["location"])
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def with_digest(location: str, digest: str) -> str:
    """The address that ends an upload session as that digest."""
    return f"{location}{'&' if '?' in location else '?'}digest={digest}"
