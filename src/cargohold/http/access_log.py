"""One line of the log for each request. No line holds a password or a token, wherever a client writes it."""

from __future__ import annotations

import logging
import re
import time
from typing import TYPE_CHECKING, Final

from cargohold.http.observing import TRACE_ID, promised_bytes
from cargohold.observe.lines import REQUESTS, RequestLine, cut, one_word, timestamp
from cargohold.types.operations import CheckHealth, CheckReady, ReadMetrics, RepositoryOperation

if TYPE_CHECKING:
    from collections.abc import Callable

    from cargohold.http.observing import Observer
    from cargohold.messages import Answer, Request
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
_QUIET: Final = (CheckHealth, CheckReady, ReadMetrics)


def access_log(emit: Callable[[RequestLine], None], least: str) -> Observer:
    """What gives each request to `emit`, unless it is less severe than `least` (a level as the settings write it).

    Requests are INFO. Those that fail by our fault (500 and above) are ERROR; those for health and metrics are DEBUG,
    but INFO where the answer is that no requests can be sent here.
    """
    threshold = logging.getLevelNamesMapping()[least.upper()]

    def observe(request: Request, answer: Answer, seconds: float) -> None:
        severity = _severity(request.operation, answer.status)
        if severity >= threshold:
            emit(_line(request, answer, seconds, severity))

    return observe


def _severity(operation: Operation | None, status: int) -> int:
    if status < _FAULT:
        return logging.DEBUG if isinstance(operation, _QUIET) else logging.INFO
    return logging.INFO if isinstance(operation, CheckReady) else logging.ERROR


def _line(request: Request, answer: Answer, seconds: float, severity: int) -> RequestLine:
    path, operation, identity = cut(request.path, LONGEST_PATH), request.operation, request.identity
    return RequestLine(
        timestamp(time.time()),
        logging.getLevelName(severity),
        REQUESTS,
        f"{request.method} {one_word(path)} {answer.status}",
        request.id,
        request.client,
        request.method,
        path,
        answer.status,
        promised_bytes(request, answer),
        request.body.received,
        round(seconds * 1000, 3),
        masked(request.query) if request.query else "",
        str(operation.repository) if isinstance(operation, RepositoryOperation) else "",
        identity.name,
        identity.sort if identity.name else "",
        cut(request.headers.get("user-agent") or "", LONGEST_AGENT),
        TRACE_ID.get(),
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
