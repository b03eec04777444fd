from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cargohold.auth.identity import EVERYONE, Identity, Kind
from cargohold.http.access_log import LONGEST_AGENT, LONGEST_PATH, SHOWN_PARAMETERS, access_log, masked
from cargohold.messages import Bytes, Empty, File
from cargohold.observe.lines import Json, line_of_request
from cargohold.types import operations as ops
from cargohold.types.names import RepositoryName, Tag
from tests.routes.caller import request

if TYPE_CHECKING:
    from cargohold.messages import Answer
    from cargohold.observe.lines import RequestLine, Told

PULL = ops.PullManifest(RepositoryName("team/app"), Tag("v1"))


def line(
    answer: Answer, method: str = "GET", target: str = "/v2/team/app/manifests/v1", **more: Any
) -> RequestLine:
    """The one line of a request, at the level that shows all."""
    lines: list[Told] = []
    asked = request(method, target, more.pop("headers", {}))
    for name, value in more.items():
        setattr(asked, name, value)
    access_log(lines.append, "debug")(asked, answer, 1_234_560)
    (only,) = lines
    return line_of_request(only)


def test_what_a_line_tells() -> None:
    """Who asked for what, what was answered, how much came and went, and how long it took."""
    told = line(
        Bytes(200, [], b"four"),
        headers={"user-agent": "crane/1"},
        client="192.0.2.1",
        id="id-1",
        operation=PULL,
        identity=Identity(Kind.PASSWORD, "ci", EVERYONE.authority, sort="robot"),
    )
    assert told.logger == "cargohold.requests"
    assert told.message == "GET /v2/team/app/manifests/v1 200"
    assert (told.client, told.user, told.user_sort, told.user_agent) == (
        "192.0.2.1",
        "ci",
        "robot",
        "crane/1",
    )
    assert (told.method, told.path, told.repository) == ("GET", "/v2/team/app/manifests/v1", "team/app")
    assert (told.status, told.bytes, told.received, told.duration_ms) == (200, 4, 0, 1.235)
    assert (told.request_id, told.query, told.trace_id) == ("id-1", "", "")


def test_blanks_in_a_path() -> None:
    """The message is three words, whatever the path; the path itself is as it was decoded."""
    told = line(Empty(404, []), target="/v2/x 200")
    assert (told.message, told.path) == ("GET /v2/x%20200 404", "/v2/x 200")


def test_an_agent_beyond_ascii() -> None:
    """The program of the client is left out where it is not in ASCII, as such headers are everywhere."""
    assert line(Empty(404, []), headers={"user-agent": "cräne/1"}).user_agent == ""


def test_who_did_not_prove_who_they_are_has_no_name() -> None:
    """Of a request without a login, or with one that does not hold, no name is told."""
    headers = {"authorization": "Basic YW5uOnNlY3JldA=="}
    told = line(Bytes(401, [], b"{}"), headers=headers)
    assert (told.user, told.user_sort) == ("", "")


@pytest.mark.parametrize(
    ("method", "answer", "promised"),
    [
        ("GET", Bytes(200, [], b"12345"), 5),
        ("HEAD", Bytes(200, [], b"12345"), 0),
        ("GET", File(200, [("content-length", "700")], "/blob"), 700),
        ("HEAD", Empty(200, [("content-length", "700")]), 0),
        ("DELETE", Empty(202, []), 0),
    ],
)
def test_bytes(method: str, answer: Answer, promised: int) -> None:
    """The bytes are those of the body that the answer promises: none to a HEAD."""
    assert line(answer, method).bytes == promised


@pytest.mark.parametrize(
    ("operation", "status", "level"),
    [
        (PULL, 200, "INFO"),
        (PULL, 404, "INFO"),
        (PULL, 500, "ERROR"),
        (PULL, 503, "ERROR"),
        (PULL, 507, "ERROR"),
        (None, 404, "INFO"),
        (None, 500, "ERROR"),
        (ops.CheckHealth(), 200, "DEBUG"),
        (ops.CheckReady(), 200, "DEBUG"),
        (ops.CheckReady(), 503, "INFO"),
        (ops.ReadMetrics(), 200, "DEBUG"),
        (ops.ReadMetrics(), 401, "DEBUG"),
        (ops.ReadMetrics(), 500, "ERROR"),
    ],
)
def test_levels(operation: ops.Operation | None, status: int, level: str) -> None:
    """Our own faults are errors; what watches us is of interest to few, unless it is told to send nothing here."""
    assert line(Empty(status, []), operation=operation).level == level


@pytest.mark.parametrize(("least", "count"), [("debug", 3), ("info", 2), ("warning", 1), ("error", 1)])
def test_least_level(least: str, count: int) -> None:
    """What is less severe than the settings ask for is not told."""
    lines: list[Told] = []
    observe = access_log(lines.append, least)
    for path, operation, status in (("/health", ops.CheckHealth(), 200), ("/", PULL, 200), ("/", PULL, 500)):
        asked = request("GET", path)
        asked.operation = operation
        observe(asked, Empty(status, []), 0)
    assert len(lines) == count


def test_long_fields_are_cut() -> None:
    """What a client can make as long as it likes takes a bounded part of a line."""
    told = line(Empty(404, []), target=f"/{'p' * 5000}?{'n=1&' * 2000}", headers={"user-agent": "a" * 5000})
    assert len(told.path) <= LONGEST_PATH
    assert len(told.user_agent) <= LONGEST_AGENT
    assert len(told.query) <= 1024


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("digest=sha256:0a&n=5", "digest=sha256:0a&n=5"),
        ("mount=sha256:0a&from=other%2Fapp", "mount=sha256:0a&from=other%2Fapp"),
        ("scope=repository:a/b:pull,push&service=hub", "scope=repository:a/b:pull,push&service=hub"),
        ("artifactType=application/x%2Bjson&last=v1&ns=docker.io", None),
        ("tag=v1&tag=v2&digest-algorithm=sha512", None),
        ("account=hunter2&client_id=docker", "account=***&client_id=***"),
        ("password=hunter2", "password=***"),
        ("access_token=a.b.c&n=1", "access_token=***&n=1"),
        ("hunter2", "***"),
        ("hunter2&n=1", "***&n=1"),
        ("n=1;password=hunter2", "n=***"),
        ("digest=hunter2%0a%1b[2J", "digest=***"),
        ("n=\u00e9", "n=***"),
        ("%70assword=hunter2", "***"),
        ("=hunter2", "***"),
        ("hunter2%20with%20spaces=", "***"),
        ("", "***"),
    ],
)
def test_queries(query: str, shown: str | None) -> None:
    """Parameters that are known to hold no secret show their values; of others the name alone, where it is a word."""
    assert masked(query) == (query if shown is None else shown)


@given(st.dictionaries(st.text(max_size=10), st.text("hunter2%&;=+ \n", min_size=4), min_size=1))
def test_no_query_smuggles(parameters: dict[str, str]) -> None:
    """However a query is put together, a value is shown of those parameters alone."""
    query = "&".join(f"{name}={value}" for name, value in parameters.items())
    for parameter in masked(query).split("&"):
        name, _, value = parameter.partition("=")
        assert name in SHOWN_PARAMETERS or value in ("***", "")


ASKED = st.fixed_dictionaries(
    {
        "method": st.sampled_from(["GET", "HEAD"]),
        "path": st.sampled_from(["/v2/team/app/manifests/v1", "/v2/x 200", '/v2/"é\x1b', "/" + "p" * 600]),
        "query": st.sampled_from(["", "", "n=1", "account=hunter2"]),
        "client": st.sampled_from(["192.0.2.1", "192.0.2.2"]),
        "operation": st.sampled_from([None, PULL]),
        "identity": st.sampled_from(
            [
                EVERYONE,
                *(Identity(Kind.PASSWORD, "ci", EVERYONE.authority, sort=sort) for sort in ("user", "robot")),
            ]
        ),
    }
)
ANSWERS = st.sampled_from([Bytes(200, [], b"four"), Bytes(200, [], b""), Empty(404, []), Empty(500, [])])


@given(
    st.lists(
        st.tuples(ASKED, st.sampled_from(["", "crane/1", "a" * 600]), ANSWERS, st.integers(0, 1)), max_size=40
    )
)
def test_what_was_told_before_changes_no_line(
    requests: list[tuple[dict[str, Any], str, Answer, int]],
) -> None:
    """Among any others, whatever is remembered of them, a request has the line that it has alone."""
    lines: list[Told] = []
    observe, style = access_log(lines.append, "info"), Json()
    for fields, agent, answer, received in requests:
        asked = request("GET", "/", {"user-agent": agent})
        asked.body.received = received
        for name, value in fields.items():
            setattr(asked, name, value)
        alone: list[Told] = []
        access_log(alone.append, "info")(asked, answer, 250_000_000)
        observe(asked, answer, 250_000_000)
        assert len(lines) == len(alone)
        for told, other in zip(lines, alone, strict=True):
            assert style.told(told) == style.request(line_of_request((other[0], *told[1:])))
        lines.clear()


def test_what_is_remembered_is_bounded() -> None:
    """Whoever asks for ever other things, or for long ones, makes the process no larger than by a few megabytes."""
    observe = access_log(lambda _: None, "info")
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(3000):
            observe(request("GET", f"/{number:0400}"), Empty(404, []), 0)
            observe(request("GET", f"/{number:05000}"), Empty(404, []), 0)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 4 << 20
