"""One line of the log for each request. No line holds a password or a token, wherever a client writes it."""

from __future__ import annotations

import logging
import re
from time import time_ns
from typing import TYPE_CHECKING, Final

from cargohold.http.observing import TRACE_ID, promised_bytes
from cargohold.observe.lines import REQUESTS, Alike, RequestLine, cut
from cargohold.types.operations import CheckHealth, CheckReady, ReadMetrics, RepositoryOperation

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from cargohold.http.observing import Observer
    from cargohold.messages import Answer, Request
    from cargohold.observe.lines import Told
    from cargohold.types.operations import Operation

LONGEST_PATH: Final = 1024
LONGEST_QUERY: Final = 1024
LONGEST_AGENT: Final = 256
MASK: Final = "***"
SHOWN_PARAMETERS: Final = frozenset(
    {
        "artifactType",
        "digest",
        "digest-algorithm",
        "from",
        "last",
        "mount",
        "n",
        "ns",
        "scope",
        "service",
        "tag",
    }
)
"""Parameters of a query whose values are shown; an account is none of them, people type passwords there."""

_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,32}")
_PLAIN_VALUE: Final = re.compile(r"[A-Za-z0-9._~:/@+%,*-]*")
_FAULT: Final = 500
_LONGEST_KNOWN: Final = 512
_MOST_KNOWN: Final = 1024
"""Of clients, and kinds of requests and answers, that are remembered since others like them may come: 4 MB at most."""
_LEVELS: Final = {
    level: logging.getLevelName(level) for level in (logging.DEBUG, logging.INFO, logging.ERROR)
}
_QUIET: Final = (CheckHealth, CheckReady, ReadMetrics)


def access_log(emit: Callable[[Told], None], least: str) -> Observer:
    """What tells `emit` of each request, unless it is less severe than `least` (a level as the settings write it).

    Requests are INFO. Those that fail by our fault (500 and above) are ERROR; those for health and metrics are DEBUG,
    but INFO where the answer is that no requests can be sent here.
    """
    threshold = logging.getLevelNamesMapping()[least.upper()]
    known: dict[Hashable, Alike | None] = {}

    def observe(request: Request, answer: Answer, nanoseconds: int) -> None:
        operation, identity = request.operation, request.identity
        agent = request.headers.get("user-agent") or ""
        key = (
            request.method,
            request.client,
            agent,
            identity.name,
            identity.sort,
            type(operation),
            answer.status,
        )
        try:
            alike = known[key]
        except KeyError:
            alike = _alike(request, answer, agent, threshold)
            if len(agent) + len(identity.name) <= _LONGEST_KNOWN:
                if len(known) >= _MOST_KNOWN:
                    known.clear()
                known[key] = alike
        if alike is None:
            return
        path, query = request.path, request.query
        emit(
            (
                alike,
                time_ns(),
                request.id,
                nanoseconds,
                TRACE_ID.get(),
                path if len(path) <= LONGEST_PATH else cut(path, LONGEST_PATH),
                masked(query) if query else "",
                operation.repository if isinstance(operation, RepositoryOperation) else "",
                promised_bytes(request, answer),
                request.body.received,
            )
        )

    return observe


def _severity(operation: Operation | None, status: int) -> int:
    if status < _FAULT:
        return logging.DEBUG if isinstance(operation, _QUIET) else logging.INFO
    return logging.INFO if isinstance(operation, CheckReady) else logging.ERROR


def _alike(request: Request, answer: Answer, agent: str, threshold: int) -> Alike | None:
    """What the lines of requests like this one are like; None where they are not told."""
    identity, severity = request.identity, _severity(request.operation, answer.status)
    if severity < threshold:
        return None
    return Alike(
        RequestLine(
            time="",
            level=_LEVELS[severity],
            logger=REQUESTS,
            message=request.method,
            request_id="",
            client=request.client,
            method=request.method,
            path="",
            status=answer.status,
            bytes=0,
            received=0,
            duration_ms=0.0,
            user=identity.name,
            user_sort=identity.sort if identity.name else "",
            user_agent=cut(agent, LONGEST_AGENT),
        )
    )


def masked(query: str) -> str:
    """The query (not decoded) with `***` for each value that is not known to be no secret."""
    return cut("&".join(map(_masked, query.split("&"))), LONGEST_QUERY)


def _masked(parameter: str) -> str:
    name, equals, value = parameter.partition("=")
    if not equals or _PLAIN_NAME.fullmatch(name) is None:
        return MASK
    shown = name in SHOWN_PARAMETERS and _PLAIN_VALUE.fullmatch(value) is not None
    return f"{name}={value if shown else MASK}"
