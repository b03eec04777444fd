"""One line of the log for each request. No line holds a password or a token, wherever a client writes it."""

from __future__ import annotations

import logging
import re
import time
from typing import TYPE_CHECKING, Final

from cargohold.http.observing import TRACE_ID, promised_bytes
from cargohold.observe.lines import REQUESTS, Alike, RequestLine, cut, one_word
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
"""Of requests that are remembered since others like them may come: 4 MB at most."""
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

    def observe(request: Request, answer: Answer, seconds: float) -> None:
        path, identity = request.path, request.identity
        agent = request.headers.get("user-agent") or ""
        if request.query or len(path) + len(agent) + len(identity.name) > _LONGEST_KNOWN:
            alike = _alike(request, answer, agent, threshold)
        else:
            # All that the line is made of: which operation it is stands in method and path, if it was found out.
            key = (
                request.method,
                path,
                request.client,
                agent,
                identity.name,
                identity.sort,
                request.operation is None,
                answer.status,
                promised_bytes(request, answer),
                request.body.received,
            )
            try:
                alike = known[key]
            except KeyError:
                if len(known) >= _MOST_KNOWN:
                    known.clear()
                alike = known[key] = _alike(request, answer, agent, threshold)
        if alike is not None:
            emit((alike, time.time(), request.id, seconds, TRACE_ID.get()))

    return observe


def _severity(operation: Operation | None, status: int) -> int:
    if status < _FAULT:
        return logging.DEBUG if isinstance(operation, _QUIET) else logging.INFO
    return logging.INFO if isinstance(operation, CheckReady) else logging.ERROR


def _alike(request: Request, answer: Answer, agent: str, threshold: int) -> Alike | None:
    """What the line of a request is like; None where it is not told."""
    path, operation, identity = cut(request.path, LONGEST_PATH), request.operation, request.identity
    severity = _severity(operation, answer.status)
    if severity < threshold:
        return None
    return Alike(
        RequestLine(
            "",
            _LEVELS[severity],
            REQUESTS,
            f"{request.method} {one_word(path)} {answer.status}",
            "",
            request.client,
            request.method,
            path,
            answer.status,
            promised_bytes(request, answer),
            request.body.received,
            0.0,
            masked(request.query) if request.query else "",
            str(operation.repository) if isinstance(operation, RepositoryOperation) else "",
            identity.name,
            identity.sort if identity.name else "",
            cut(agent, LONGEST_AGENT),
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
