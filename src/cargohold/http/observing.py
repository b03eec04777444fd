"""What is noted of each request once it has its answer, and the id by which logs, traces and clients call it."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable
from contextvars import ContextVar
from time import perf_counter_ns
from typing import TYPE_CHECKING

from cargohold.http.exchange import announced
from cargohold.messages import REQUEST_ID_HEADER, Answer, Bytes, File, Request

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cargohold.http.exchange import Handler

# Called with a request, its answer, and the nanoseconds from the one to the other: numbers that are whole from the
# start are counted and written in less time. Quick, and never raises.
Observer = Callable[[Request, Answer, int], None]

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the request that is being answered; empty outside of requests."""

TRACE_ID: ContextVar[str] = ContextVar("trace_id", default="")
"""The id of the trace that the request belongs to, in hex; empty where none is made."""

_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")


def observe(handler: Handler, observers: Sequence[Observer]) -> Handler:
    """Give each request an id, its client's own where that is a plain word, and tell observers how it went.

    The answer will bear the id as `X-Request-ID`. For a file that the server sends by itself, what is observed is the
    time to the answer, and the bytes that were promised. A request whose handling is cancelled is not observed: it has
    no answer.
    """
    ids = _ids()

    async def handle(request: Request) -> Answer:
        began = perf_counter_ns()
        given = request.headers.get(REQUEST_ID_HEADER)
        request.id = given if given and _ID.fullmatch(given) else next(ids)
        REQUEST_ID.set(request.id)
        answer = await handler(request)
        nanoseconds = perf_counter_ns() - began
        for observer in observers:
            observer(request, answer, nanoseconds)
        return answer

    return handle


def _ids() -> Iterator[str]:
    """Ids that nobody else gives, each with a number; to write the whole of that anew takes five times as long."""
    start = os.urandom(8).hex()
    endings = [f"{number:02x}" for number in range(256)]
    for number in itertools.count():
        beginning = f"{start}-{number:x}"
        for ending in endings:
            yield f"{beginning}{ending}"


def promised_bytes(request: Request, answer: Answer) -> int:
    """How long the body is that an answer announces; 0 for one to a HEAD."""
    if request.method == "HEAD":
        return 0
    if type(answer) is Bytes:
        return len(answer.body)
    if type(answer) is File:
        return announced(answer)
    return 0
