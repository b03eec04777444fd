"""A client that speaks HTTP/2 with prior knowledge, frame by frame."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Self

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    ResponseReceived,
    StreamEnded,
    StreamReset,
)

from tests.http.wire import TIMEOUT, Response

if TYPE_CHECKING:
    from h2.errors import ErrorCodes


class StreamWasReset(Exception):
    """The server ended a stream, or the connection, without a whole answer."""


class Http2Client:
    """A connection to `http://host:port`; waits end after the TIMEOUT of `wire` with TimeoutError."""

    def __init__(self, address: str) -> None:
        host, _, port = address.removeprefix("http://").rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=TIMEOUT)
        self._connection = H2Connection(H2Configuration(client_side=True, validate_outbound_headers=False))
        self._responses: dict[int, Response] = {}
        self._ended: set[int] = set()
        self._connection.initiate_connection()
        self._flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def request(self, method: str, path: str, *headers: tuple[str, str], end: bool = True) -> int:
        """Send a request's headers; the stream's number. `end` says that no body follows."""
        stream = self._connection.get_next_available_stream_id()
        pseudo = [(":method", method), (":path", path), (":scheme", "http"), (":authority", "registry")]
        self._connection.send_headers(stream, [*pseudo, *headers], end_stream=end)
        self._flush()
        return stream

    def data(self, stream: int, data: bytes, *, end: bool = False) -> None:
        """Send one frame of a body, which must fit the window and the frame."""
        self._connection.send_data(stream, data, end_stream=end)
        self._flush()

    def reset(self, stream: int, code: ErrorCodes) -> None:
        self._connection.reset_stream(stream, code)
        self._flush()

    def answered(self, stream: int) -> bool:
        return stream in self._responses

    def response(self, stream: int) -> Response:
        """Read until the stream's answer is whole; raises StreamWasReset where it will not be."""
        while stream not in self._ended:
            data = self._socket.recv(1 << 16)
            if not data:
                raise StreamWasReset("the connection ended")
            for event in self._connection.receive_data(data):
                self._take(event)
            self._flush()
        return self._responses[stream]

    def _take(self, event: Event) -> None:
        match event:
            case ResponseReceived(stream_id=int(stream), headers=list(headers)):
                pairs = [(bytes(name).decode(), bytes(value).decode()) for name, value in headers]
                self._responses[stream] = Response(int(pairs[0][1]), pairs[1:])
            case DataReceived(stream_id=int(stream), data=bytes(data), flow_controlled_length=int(length)):
                self._responses[stream].body += data
                self._connection.acknowledge_received_data(length, stream)
            case StreamEnded(stream_id=int(stream)):
                self._ended.add(stream)
            case StreamReset(stream_id=int(stream)) if stream in self._ended:
                pass  # the answer is whole: the server wants no more of the request (RFC 9113, 8.1)
            case StreamReset() | ConnectionTerminated():
                raise StreamWasReset(repr(event))

    def _flush(self) -> None:
        self._socket.sendall(self._connection.data_to_send())
