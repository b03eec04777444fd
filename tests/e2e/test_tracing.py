"""Traces of the real server, as a collector of the test's own gets and decodes them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.e2e.pushing import EMPTY, digest_of
from tests.e2e.server import Server
from tests.e2e.test_logs import damaged
from tests.http.serving import until
from tests.http.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.conftest import Start

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector:
    """Takes spans as collectors do, by OTLP over HTTP; a `deaf` one takes the request and never answers."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.resources: list[dict[str, Any]] = []
        self.deaf = False
        self.asked = threading.Event()
        self._over = threading.Event()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                collector.asked.set()
                if collector.deaf:
                    collector._over.wait(60)
                    return
                content = self.rfile.read(int(self.headers["Content-Length"]))
                collector.take(self.path, ExportTraceServiceRequest.FromString(content))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1/traces"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    def take(self, path: str, request: ExportTraceServiceRequest) -> None:
        assert path == "/v1/traces"
        for of_resource in request.resource_spans:
            self.resources.append(values(of_resource.resource))
            for of_scope in of_resource.scope_spans:
                self.spans.extend(of_scope.spans)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(20)


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as running:
        yield running


def values(described: Any) -> dict[str, Any]:
    """The attributes of a span or a resource, by their names."""
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in described.attributes}


def traced(start: Start, collector: Collector, **more: object) -> Server:
    named = {name.replace("__", "."): value for name, value in more.items()}
    return start({"tracing.endpoint": collector.url, **named})


def lines(server: Server) -> list[dict[str, Any]]:
    return [json.loads(line) for line in server.log.splitlines()]


def test_a_span_for_each_request(start: Start, collector: Collector) -> None:
    """It says by the conventions what was asked and answered, and its trace is in the line of the log."""
    server = traced(start, collector, tracing__service="images", prefix="/hub")
    digest = digest_of(EMPTY)
    with Wire(server.url.removesuffix("/hub")) as wire:
        target = f"/hub/v2/team/app/blobs/uploads/?digest={digest}&password=hunter2"
        wire.ask("POST", target, "User-Agent: crane/1", "X-Request-ID: of-mine", body=EMPTY)
        wire.ask("BREW", "/hub/v2/team/app/manifests/v1")
        wire.ask("GET", "/elsewhere")
    assert server.stop() == 0
    pushed, brewed, lost = sorted(collector.spans, key=lambda span: span.start_time_unix_nano)
    assert {span.kind for span in collector.spans} == {Span.SPAN_KIND_SERVER}
    assert pushed.name == "POST /hub/v2/{name}/blobs/uploads/"
    assert values(pushed) == {
        "http.request.method": "POST",
        "url.scheme": "http",
        "url.path": "/hub/v2/team/app/blobs/uploads/",
        "url.query": f"digest={digest}&password=***",
        "client.address": "127.0.0.1",
        "user_agent.original": "crane/1",
        "cargohold.request_id": "of-mine",
        "http.route": "/hub/v2/{name}/blobs/uploads/",
        "cargohold.repository": "team/app",
        "http.request.body.size": len(EMPTY),
        "http.response.body.size": 0,
        "http.response.status_code": 201,
    }
    assert pushed.parent_span_id == b""
    assert pushed.start_time_unix_nano < pushed.end_time_unix_nano <= time.time_ns()
    assert (brewed.name, values(brewed)["http.request.method"]) == ("HTTP", "_OTHER")
    assert values(brewed)["http.request.method_original"] == "BREW"
    assert (lost.name, "http.route" in values(lost)) == ("GET", False)
    (resource,) = collector.resources
    assert resource["service.name"] == "images"
    assert "service.version" in resource
    told = {line["request_id"]: line["trace_id"] for line in lines(server) if "path" in line}
    assert told["of-mine"] == pushed.trace_id.hex()
    assert set(told.values()) == {span.trace_id.hex() for span in collector.spans}


def test_traces_of_others_go_on(start: Start, collector: Collector) -> None:
    """A request that comes with a trace becomes a part of it, and its beginner decides whether it is sent."""
    server = traced(start, collector, tracing__sample=0)
    with Wire(server.url) as wire:
        wire.ask("GET", "/v2/", f"traceparent: 00-{TRACE}-{PARENT}-01", "tracestate: a=1")
        wire.ask("GET", "/v2/", f"traceparent: 00-{TRACE}-{PARENT}-00")
        wire.ask("GET", "/v2/")
        wire.ask("GET", "/v2/", "traceparent: nonsense")
    assert server.stop() == 0
    (span,) = collector.spans
    assert (span.trace_id.hex(), span.parent_span_id.hex(), span.trace_state) == (TRACE, PARENT, "a=1")
    assert [line["trace_id"] == TRACE for line in lines(server) if "path" in line] == [
        True,
        True,
        False,
        False,
    ]


def test_faults_are_errors(collector: Collector, tmp_path: Path) -> None:
    """A span of a request that failed by our fault has the status of an error; one that was refused has not."""
    damaged(tmp_path / "data", ["team/app"])
    server = Server(tmp_path / "data", {"tracing.endpoint": collector.url})
    with Wire(server.url) as wire:
        assert wire.ask("GET", "/v2/team/app/manifests/v1").status == 503
        assert wire.ask("GET", "/v2/team/none/manifests/v1").status == 404
    assert server.stop() == 0
    failed, refused = sorted(collector.spans, key=lambda span: span.start_time_unix_nano)
    assert (failed.status.code, values(failed)["error.type"]) == (Status.STATUS_CODE_ERROR, "503")
    assert (refused.status.code, "error.type" in values(refused)) == (Status.STATUS_CODE_UNSET, False)


def test_what_watches_is_not_traced(start: Start, collector: Collector) -> None:
    """Health checks and metrics come every few seconds, and tell nothing of what clients do."""
    server = traced(start, collector)
    with Wire(server.url) as wire:
        for target in ("/health", "/health/ready", "/metrics", "/v2/"):
            assert wire.ask("GET", target).status == 200
    assert server.stop() == 0
    assert [span.name for span in collector.spans] == ["GET /v2/"]


def test_nothing_is_lost_at_a_stop(start: Start, collector: Collector) -> None:
    """Each worker sends what it still has, each request once, and none with the trace of another."""
    server = traced(start, collector, workers=2)

    def ask(who: int) -> None:
        with Wire(server.url) as wire:
            for _ in range(50):
                wire.ask("GET", "/v2/", f"traceparent: 00-{who + 1:032x}-{PARENT}-01", f"X-Request-ID: {who}")

    with ThreadPoolExecutor(8) as at_once:
        list(at_once.map(ask, range(8)))
    assert server.stop() == 0
    assert len(collector.spans) == 400
    assert all(
        int(span.trace_id.hex(), 16) == int(values(span)["cargohold.request_id"]) + 1
        for span in collector.spans
    )


def test_no_collector(start: Start, collector: Collector) -> None:
    """Where nobody takes the spans requests are answered as ever, and a warning says so once."""
    collector._server.server_close()
    server = traced(start, collector, workers=1)
    with Wire(server.url) as wire:
        for _ in range(1500):  # several batches
            assert wire.ask("GET", "/v2/").status == 200
        until(lambda: "traces: " in server.log)
    assert server.stop() == 0
    warnings = [line for line in lines(server) if line["level"] != "INFO"]
    assert [(line["level"], line["logger"]) for line in warnings] == [("WARNING", "cargohold.observe.spans")]


def test_a_collector_that_hangs(start: Start, collector: Collector) -> None:
    """It holds up neither requests nor, for long, the end of the server."""
    collector.deaf = True
    server = traced(start, collector)
    with Wire(server.url) as wire:
        for _ in range(600):
            assert wire.ask("GET", "/v2/").status == 200
        assert collector.asked.wait(20)
        assert wire.ask("GET", "/v2/").status == 200
    assert server.stop() == 0


IMPORTED = """
import sys
from cargohold.app import asgi
application = asgi()
print(sorted({name.partition(".")[0] for name in sys.modules} & {"opentelemetry", "google", "requests"}))
"""
REFUSED = """
import sys
sys.modules["opentelemetry"] = None
from cargohold.cli.main import main
main(["serve", "--port", "0", "--set", "tracing.endpoint=http://127.0.0.1:1/v1/traces"])
"""


def python(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "REGISTRY_STORAGE_PATH": str(folder / "data")}
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, env=environ, check=False
    )


def test_nothing_is_imported_without_traces(tmp_path: Path) -> None:
    """Where the settings ask for no traces OpenTelemetry is not even looked for."""
    done = python(IMPORTED, tmp_path)
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr


def test_the_extra_is_not_installed(tmp_path: Path) -> None:
    """Then a server whose settings ask for traces does not start, and says what to install."""
    done = python(REFUSED, tmp_path)
    assert done.returncode == 2
    assert "tracing.endpoint: needs what is not installed" in done.stderr
    assert "pip install 'cargohold[tracing]'" in done.stderr
    assert done.stderr.count("\n") == 1
