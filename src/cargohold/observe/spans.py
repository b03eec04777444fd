"""Where spans go: to a collector, by OTLP over HTTP, in batches that a thread sends.

This brings OpenTelemetry in, which is an extra: to be imported only where traces are asked for.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import Tracer

STOP_SECONDS: Final = 3.0
_SILENCE_SECONDS: Final = 60.0

_log = logging.getLogger(__name__)


class Spans:
    """The spans of one process: made in it, after the fork, since it starts a thread.

    `endpoint` is the address of the collector, `sample` the part (0 to 1) of the traces that begin here that is sent;
    of traces that began elsewhere, those are sent whose beginner has them sent. `service` and `version` are what the
    traces say of the server. While the collector cannot be reached spans are kept up to a limit, then dropped, and a
    warning says so once a minute.
    """

    def __init__(self, endpoint: str, sample: float, service: str, version: str) -> None:
        self._exporter = _Exporter(OTLPSpanExporter(endpoint))
        self._provider = TracerProvider(
            ParentBased(TraceIdRatioBased(sample)),
            Resource.create({"service.name": service, "service.version": version}),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        _log_of_library().handlers[:] = [_Complaints()]
        self.tracer: Tracer = self._provider.get_tracer("cargohold", version)

    def stop(self) -> None:
        """Send what is left; that takes no more than STOP_SECONDS, and no time where the collector is not there."""
        if self._exporter.is_failing:
            self._exporter.shutdown()
        ending = threading.Thread(target=self._provider.shutdown, daemon=True)
        ending.start()
        ending.join(STOP_SECONDS)


class _Exporter(SpanExporter):
    """Sends spans, and knows whether the last ones arrived."""

    def __init__(self, exporter: OTLPSpanExporter) -> None:
        self.is_failing = False
        self._exporter = exporter
        self._is_shut = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if self._is_shut:
            return SpanExportResult.FAILURE
        result = self._exporter.export(spans)
        self.is_failing = result is SpanExportResult.FAILURE
        return result

    def shutdown(self) -> None:
        if not self._is_shut:
            self._is_shut = True
            self._exporter.shutdown()  # type: ignore[no-untyped-call] # the library leaves it so


class _Complaints(logging.Handler):
    """Hands on what the library warns of, as a warning of ours, and no more often than is of use."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._next = 0.0
        self._left_out = 0

    def emit(self, record: logging.LogRecord) -> None:
        now = time.monotonic()
        if now < self._next:
            self._left_out += 1
            return
        others = f" (and {self._left_out} more warnings since the last one)" if self._left_out else ""
        self._next, self._left_out = now + _SILENCE_SECONDS, 0
        _log.warning("traces: %s%s", record.getMessage(), others)


def _log_of_library() -> logging.Logger:
    log = logging.getLogger("opentelemetry")
    log.propagate = False
    return log
