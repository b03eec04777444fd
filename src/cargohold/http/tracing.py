"""A span for each request, by the semantic conventions of OpenTelemetry ("HTTP spans", server).

This brings OpenTelemetry in, which is an extra: to be imported only where traces are asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from opentelemetry.context import Context
from opentelemetry.propagators.textmap import Getter
from opentelemetry.trace import SpanKind, StatusCode, format_trace_id
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from cargohold.http.access_log import LONGEST_AGENT, LONGEST_PATH, masked
from cargohold.http.observing import TRACE_ID, promised_bytes
from cargohold.http.patterns import PATTERNS, pattern
from cargohold.messages import RequestHeaders
from cargohold.observe.lines import cut
from cargohold.types.operations import CheckHealth, CheckReady, ReadMetrics, RepositoryOperation
from cargohold.types.text import printable

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

    from cargohold.http.exchange import Handler
    from cargohold.messages import Answer, Request

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_FAULT: Final = 500


def trace(handler: Handler, tracer: Tracer, *, prefix: str = "") -> Handler:
    """Make a span of each request, within the trace that its `traceparent` names, but for health and metrics.

    Stands within what gives requests their ids; `prefix` is what stands before every path. The handler must have an
    answer to everything. Of a request that is cancelled the span has no answer.
    """
    quiet = frozenset(prefix + PATTERNS[kind] for kind in (CheckHealth, CheckReady, ReadMetrics))
    propagator = TraceContextTextMapPropagator()

    async def handle(request: Request) -> Answer:
        if request.path in quiet:
            return await handler(request)
        parent = propagator.extract(request.headers, Context(), _HEADERS)
        span = tracer.start_span(_name(request), parent, SpanKind.SERVER)
        TRACE_ID.set(format_trace_id(span.get_span_context().trace_id))
        try:
            if span.is_recording():
                _ask(span, request)
            answer = await handler(request)
            if span.is_recording():
                _answer(span, request, answer, prefix)
            return answer
        finally:
            span.end()

    return handle


class _Headers(Getter[RequestHeaders]):
    def get(self, carrier: RequestHeaders, key: str) -> list[str] | None:
        return carrier.get_all(key) or None

    def keys(self, carrier: RequestHeaders) -> list[str]:  # noqa: ARG002 - no propagator here asks
        return []


_HEADERS: Final = _Headers()


def _name(request: Request) -> str:
    return request.method if request.method in _METHODS else "HTTP"


def _ask(span: Span, request: Request) -> None:
    known = request.method in _METHODS
    span.set_attribute("http.request.method", request.method if known else "_OTHER")
    if not known:
        span.set_attribute("http.request.method_original", printable(request.method[:32]))
    span.set_attribute("url.scheme", request.scheme)
    span.set_attribute("url.path", printable(cut(request.path, LONGEST_PATH)))
    if request.query:
        span.set_attribute("url.query", masked(request.query))
    if request.client:
        span.set_attribute("client.address", request.client)
    agent = request.headers.get("user-agent")
    if agent:
        span.set_attribute("user_agent.original", printable(cut(agent, LONGEST_AGENT)))
    span.set_attribute("cargohold.request_id", request.id)


def _answer(span: Span, request: Request, answer: Answer, prefix: str) -> None:
    operation = request.operation
    if operation is not None:
        route = prefix + pattern(operation)
        span.update_name(f"{_name(request)} {route}")
        span.set_attribute("http.route", route)
    if isinstance(operation, RepositoryOperation):
        span.set_attribute("cargohold.repository", operation.repository)
    span.set_attribute("http.request.body.size", request.body.received)
    span.set_attribute("http.response.body.size", promised_bytes(request, answer))
    span.set_attribute("http.response.status_code", answer.status)
    if answer.status >= _FAULT:
        span.set_attribute("error.type", str(answer.status))
        span.set_status(StatusCode.ERROR)
