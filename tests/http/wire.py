"""A client that speaks HTTP/1.1 over a bare socket, so that tests decide each byte, pause and ending."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from typing import Self

TIMEOUT = 20.0
_RECEIVE_BYTES = 1 << 20


@dataclass
class Response:
    """One response; `complete` is false where the connection ended before the body did."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes = b""
    complete: bool = True

    def __getitem__(self, name: str) -> str:
        return next(value for key, value in self.headers if key == name)

    def __contains__(self, name: str) -> bool:
        return any(key == name for key, _ in self.headers)


class Wire:
    """A connection to `address`: `http://host:port`, `http://[host]:port` or `unix:path`.

    Every wait ends after TIMEOUT seconds with TimeoutError.
    """

    def __init__(self, address: str, *, receive_buffer: int | None = None) -> None:
        kind, _, rest = address.partition(":")
        family = socket.AF_UNIX if kind == "unix" else socket.AF_INET6 if "[" in rest else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(TIMEOUT)
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._buffer = b""
        host, _, port = rest.removeprefix("//").rpartition(":")
        try:
            self.socket.connect(rest if family == socket.AF_UNIX else (host.strip("[]"), int(port)))
        except OSError:
            self.socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def request(self, method: str, target: str, *headers: str, body: bytes = b"") -> None:
        """Send a request; `headers` are whole lines, and Content-Length is added only for a body."""
        lines = [f"{method} {target} HTTP/1.1", "Host: registry", *headers]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1") + body)

    def chunk(self, data: bytes) -> None:
        """Send a chunk of a body with chunked encoding; an empty one is the last."""
        self.send(b"%x\r\n%s\r\n" % (len(data), data))

    def ask(self, method: str, target: str, *headers: str, body: bytes = b"") -> Response:
        """Send a request and read its response."""
        self.request(method, target, *headers, body=body)
        return self.response(to=method)

    def response(self, *, to: str = "GET") -> Response:
        """Read one response, with its body; `to` is the method it answers (none to HEAD has a body)."""
        response = self.head()
        if to == "HEAD" or response.status in {204, 304} or response.status < 200:
            return response
        length = int(response["content-length"])
        while len(self._buffer) < length and self._fill():
            pass
        response.body, self._buffer = self._buffer[:length], self._buffer[length:]
        response.complete = len(response.body) == length
        return response

    def head(self) -> Response:
        """Read the status line and headers of a response; raises EOFError where the connection ends first."""
        while b"\r\n\r\n" not in self._buffer:
            if not self._fill():
                raise EOFError(f"the connection ended after {self._buffer!r}")
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = [line.split(":", 1) for line in lines]
        return Response(int(first.split(" ")[1]), [(key.lower(), value.strip()) for key, value in pairs])

    def closed(self) -> bool:
        """Whether the server ends the connection, by FIN or reset, with nothing more to read, in time."""
        try:
            return not self._buffer and not self._fill()
        except TimeoutError:
            return False

    def finish(self) -> None:
        """Send nothing more, and go on reading."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """End the connection by a reset, as a killed client's kernel does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def _fill(self) -> bool:
        try:
            data = self.socket.recv(_RECEIVE_BYTES)
        except ConnectionResetError:
            return False
        self._buffer += data
        return bool(data)
