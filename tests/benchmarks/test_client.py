"""Our own client: how it paces what it sends, and which time it says that an answer took."""

import itertools
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from benchmarks.load import client

_REQUEST = b"GET / HTTP/1.1\r\n\r\n"
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
_FIRST_TAKES = 0.3
_PATIENCE = 10.0


@pytest.fixture
def port() -> Iterator[int]:
    """Of a server that takes long for its first answer alone, and takes one connection after the other."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(_PATIENCE)
        thread = threading.Thread(target=_serve, args=(listener,))
        thread.start()
        yield listener.getsockname()[1]
        thread.join(_PATIENCE)


def _serve(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    connection.settimeout(_PATIENCE)
    with connection, suppress(ConnectionResetError):
        for number in itertools.count():
            if not connection.recv(len(_REQUEST), socket.MSG_WAITALL):
                return
            if number == 0:
                time.sleep(_FIRST_TAKES)
            connection.sendall(_ANSWER)


def _run(port: int, rate: float | None) -> list[float]:
    return client.run(port, lambda _: _REQUEST, 200, 1, 1.0, rate)


def test_as_fast_as_answered(port: int) -> None:
    """Without a rate the next request goes out with the answer, and takes its time from then."""
    took = _run(port, None)
    assert took[0] >= _FIRST_TAKES
    assert len(took) > 50
    assert sum(took) < 1.5


def test_at_a_rate(port: int) -> None:
    """As many are sent as are due; those that an answer is late for have waited since they were."""
    took = _run(port, 20)
    assert 10 <= len(took) <= 22
    assert took[0] >= _FIRST_TAKES
    # 20 a second are 0.05 s apart: the second was due 0.05 s after the first was sent.
    assert took[1] >= _FIRST_TAKES - 0.05 - 0.01
    assert took[1] > took[2] > took[3]
