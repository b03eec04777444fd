"""A server that answers as a test says, and remembers what it was asked: what no registry of good will would do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from types import TracebackType

_WAIT_SECONDS = 30.0
_POLL_SECONDS = 0.02


class Asked(NamedTuple):
    """A request."""

    method: str
    target: str
    authorization: str | None
    body: bytes


class Reply(NamedTuple):
    """An answer to one."""

    status: int
    headers: dict[str, str]
    body: bytes = b""
    pause: float = 0.0
    """Seconds before each line of the head."""


Answers = Callable[[Asked], Reply]


class Hostile:
    """A server on a port that the kernel picks; `asked` are its requests until now."""

    def __init__(self, answers: Answers) -> None:
        self.asked: list[Asked] = []
        asked = self.asked

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = _WAIT_SECONDS
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                length = int(self.headers.get("content-length", 0))
                request = Asked(
                    self.command, self.path, self.headers.get("authorization"), self.rfile.read(length)
                )
                asked.append(request)
                reply = answers(request)
                self.send_response(reply.status)
                for name, value in ({"Content-Length": str(len(reply.body))} | reply.headers).items():
                    self.send_header(name, value)
                    if reply.pause:
                        time.sleep(reply.pause)
                        self.flush_headers()
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(reply.body)

            def handle(self) -> None:
                with suppress(ConnectionError):  # of who does not want all of it
                    super().handle()

            do_HEAD = do_POST = do_DELETE = do_GET  # noqa: N815 - names that the base class looks for

            def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - its own name
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_POLL_SECONDS,), daemon=True)
        self.host = f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(_WAIT_SECONDS)
