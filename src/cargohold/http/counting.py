"""Counts each request once it has its answer, for the metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cargohold.http.observing import promised_bytes
from cargohold.http.patterns import PATTERNS
from cargohold.types.operations import AppendUpload, FinishUpload, MountBlob, PullBlob, StartUpload

if TYPE_CHECKING:
    from cargohold.http.observing import Observer
    from cargohold.messages import Answer, Request
    from cargohold.observe.counts import Area

ROUTES: Final = tuple(dict.fromkeys(PATTERNS.values()))
"""What requests are counted by."""

_UPLOADING: Final = frozenset({StartUpload, MountBlob, AppendUpload, FinishUpload})


def counting(area: Area) -> Observer:
    """What counts requests in this area.

    By method, route and status, and how long they took; the bytes of blobs that were received, whatever became of
    them, and those that were promised: a file's bytes are sent after the answer, by the server itself.
    """
    routes: dict[type, str] = dict(PATTERNS)
    routes[type(None)] = ""

    def observe(request: Request, answer: Answer, nanoseconds: int) -> None:
        kind = type(request.operation)
        area.request(request.method, routes[kind], answer.status, nanoseconds)
        if kind is PullBlob and answer.status in (200, 206):
            area.downloaded(promised_bytes(request, answer))
        elif kind in _UPLOADING:
            area.uploaded(request.body.received)

    return observe
