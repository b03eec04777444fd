"""The registry as a server sees it: something that answers requests, with a beginning and an end."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable

    from cargohold.http.exchange import Handler
    from cargohold.messages import Answer, Headers, Request

STALL_SECONDS = 60.0


class Application:
    """Answers requests by `handler`, in one process.

    The handler must have an answer to everything (`answer_faults`).
    `start` and `stop` begin and end the application's background tasks on the worker's loop, before the first
    request and after the last; a worker that is killed skips `stop`. `leave` is called when the server has been
    told to stop, and still takes requests. `stall_timeout` (seconds) is how long a body may send nothing; every
    answer bears `headers`.

    Attributes: `stall_timeout`, `answer` (what gives the answer to a request), `ends_connections` (whether clients are
    to be asked, with each answer, to come back on a new connection).
    """

    def __init__(  # noqa: PLR0913 - all but the first may be left out
        self,
        handler: Handler,
        *,
        headers: Headers | None = None,
        start: Callable[[AbstractEventLoop], None] | None = None,
        stop: Callable[[AbstractEventLoop], None] | None = None,
        leave: Callable[[], None] | None = None,
        stall_timeout: float = STALL_SECONDS,
    ) -> None:
        self.stall_timeout = stall_timeout
        self.ends_connections = False
        self.answer: Handler = _bearing(handler, headers) if headers else handler
        self._start = start
        self._stop = stop
        self._leave = leave

    def start(self, loop: AbstractEventLoop) -> None:
        """To be called in each worker, before the first request."""
        if self._start is not None:
            self._start(loop)

    def stop(self, loop: AbstractEventLoop) -> None:
        """To be called in each worker, after the last request."""
        if self._stop is not None:
            self._stop(loop)

    def leave(self) -> None:
        """Tell the application that the server is about to stop, and clients to go."""
        if self._leave is not None:
            self._leave()
        self.end_connections()

    def end_connections(self) -> None:
        """Ask clients, with each answer from now on, to come back on a new connection."""
        self.ends_connections = True


def _bearing(handler: Handler, headers: Headers) -> Handler:
    async def handle(request: Request) -> Answer:
        answer = await handler(request)
        answer.headers.extend(headers)
        return answer

    return handle
