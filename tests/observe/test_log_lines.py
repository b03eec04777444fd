from __future__ import annotations

import json
import logging
import re
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from cargohold.observe.lines import (
    Alike,
    Human,
    Json,
    RecordLine,
    RequestLine,
    Told,
    cut,
    line_of,
    line_of_request,
    timestamp,
)
from cargohold.observe.writer import PIECE_BYTES

NOW = timestamp(1704207845.75)
# Line feeds, orders of terminals of seven and eight bits, what turns the direction of text, half a pair, U+2028.
NASTY = "a\nb\r\x1b[2J\x7f\x9b2J\u202e\u2028\udc80\U000e0001é"
TEXTS = st.text(st.characters(), max_size=30) | st.sampled_from(
    [NASTY, "x" * 5000, "\x1b" * 3000, "é" * 4000]
)


def request_line(**more: Any) -> RequestLine:
    fields: dict[str, Any] = {
        "time": NOW,
        "level": "INFO",
        "logger": "cargohold.requests",
        "message": "GET /v2/ 200",
        "request_id": "id-1",
        "client": "127.0.0.1",
        "method": "GET",
        "path": "/v2/",
        "status": 200,
        "bytes": 2,
        "received": 0,
        "duration_ms": 0.25,
    }
    return RequestLine(**(fields | more))


def record(message: str, *arguments: object, error: BaseException | None = None) -> RecordLine:
    given = None if error is None else (type(error), error, error.__traceback__)
    made = logging.LogRecord("cargohold.some", logging.ERROR, "", 0, message, arguments, given)
    return line_of(made, "id-1", "")


def shown(line: bytes) -> str:
    """The text of one line, which has nothing in it that a terminal would obey."""
    assert len(line) <= PIECE_BYTES
    text = line.decode()
    assert text.endswith("\n")
    assert text[:-1].isprintable()
    return text[:-1]


def test_a_moment() -> None:
    """Times are of RFC 3339, in UTC, with three digits of the second."""
    assert timestamp(1704207845.75) == "2024-01-02T15:04:05.750Z"
    assert timestamp(1704207845.9999) == "2024-01-02T15:04:05.999Z"
    assert timestamp(1704207846.0) == "2024-01-02T15:04:06.000Z"


def test_json_of_a_request() -> None:
    """Every field has its name, and one that does not apply is left out."""
    line = json.loads(shown(Json().request(request_line(user="ann", user_sort="user", query="n=1"))))
    assert line == {
        "time": NOW,
        "level": "INFO",
        "logger": "cargohold.requests",
        "message": "GET /v2/ 200",
        "request_id": "id-1",
        "client": "127.0.0.1",
        "method": "GET",
        "path": "/v2/",
        "status": 200,
        "bytes": 2,
        "received": 0,
        "duration_ms": 0.25,
        "query": "n=1",
        "user": "ann",
        "user_sort": "user",
    }
    assert list(line)[:4] == ["time", "level", "logger", "message"]


def test_human_of_a_request() -> None:
    """Time and level, who asked for what, what was answered, how long it took; `-` where nobody is known."""
    line = request_line(query="n=1", user_agent="crane/1", received=7, trace_id="abc")
    assert shown(Human(colour=False).request(line)) == (
        f"{NOW} INFO 127.0.0.1 - GET /v2/?n=1 200, 2 bytes in 0.25 ms, 7 bytes received, crane/1 id-1 abc"
    )
    assert shown(Human(colour=False).request(request_line(client="", user="ann"))) == (
        f"{NOW} INFO - ann GET /v2/ 200, 2 bytes in 0.25 ms id-1"
    )


def test_blanks_are_of_the_form_alone() -> None:
    """What stands in a path or a name is one word of the line: it cannot be read as a status, or as a client."""
    line = request_line(path="/v2/x 200, 5 bytes in 1 ms", status=404, user="ann GET /")
    assert shown(Human(colour=False).request(line)) == (
        f"{NOW} INFO 127.0.0.1 ann%20GET%20/ GET /v2/x%20200,%205%20bytes%20in%201%20ms 404, 2 bytes in 0.25 ms id-1"
    )


def test_colour() -> None:
    """The level alone is in colour, and only where it is asked for."""
    assert Human(colour=True).request(request_line()).startswith(NOW.encode() + b" \x1b[32mINFO\x1b[0m 127")
    assert b"\x1b" not in Human(colour=False).request(request_line())


def test_a_record_with_an_exception() -> None:
    """JSON has the traceback in a field of its own; people see it below the line, indented."""
    try:
        json.loads("{")
    except ValueError as error:
        line = record("%s failed", "this", error=error)
    told = json.loads(shown(Json().record(line)))
    assert (told["message"], told["level"], told["request_id"]) == ("this failed", "ERROR", "id-1")
    assert told["exception"].startswith("Traceback (most recent call last):\n  File ")
    assert "json.decoder.JSONDecodeError: " in told["exception"].splitlines()[-1]
    first, *below = Human(colour=False).record(line).decode().splitlines()
    assert first.endswith("Z ERROR cargohold.some: this failed id-1")
    assert below == [f"    {each}" for each in told["exception"].splitlines()]


def test_a_long_traceback_keeps_its_ends() -> None:
    """What began it and what it ended with are in the line, which is no longer than a pipe takes whole."""
    told = json.loads(shown(Json().record(record("failed", error=ValueError(f"first {'x' * 9000} last")))))
    assert re.fullmatch(r"ValueError: first x+…x+ last", told["exception"])
    human = Human(colour=False).record(record("failed", error=ValueError("the\nlast word"))).decode()
    assert human.splitlines()[1:] == ["    ValueError: the", "    last word"]


@given(TEXTS, TEXTS, TEXTS)
@example(NASTY, NASTY, NASTY)
def test_a_request_is_one_line(path: str, agent: str, user: str) -> None:
    """Whatever a client writes, both forms are one line that fits a pipe and holds no order to a terminal."""
    line = request_line(path=path, user_agent=agent, user=user, message=f"GET {path} 200")
    shown(Human(colour=False).request(line))
    told = json.loads(shown(Json().request(line)))
    assert (told["status"], told["client"], told["request_id"]) == (200, "127.0.0.1", "id-1")


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
def test_json_keeps_the_text(path: str) -> None:
    """What is short enough is read back as it was, whatever its characters."""
    assert json.loads(shown(Json().request(request_line(path=path))))["path"] == path


@given(TEXTS, TEXTS)
@example(NASTY, NASTY)
def test_a_record_is_one_line(message: str, exception: str) -> None:
    """The same for what is told by loggers; people see an exception's lines indented, none can be taken for another."""
    line = RecordLine(NOW, "ERROR", "cargohold.some", message, exception)
    shown(Json().record(line))
    written = Human(colour=False).record(line)
    assert len(written) <= PIECE_BYTES
    first, *below = written.decode().split("\n")[:-1]
    assert first.startswith(f"{NOW} ERROR cargohold.some: ")
    assert all(each.isprintable() for each in [first, *below])
    assert not [each for each in below if not re.match(r"    |…", each)]


PATHS = st.from_regex(r"/v2/[a-z/]{1,20}", fullmatch=True) | TEXTS


@given(
    PATHS,
    st.from_regex(r"digest=sha256:[0-9a-f]{1,64}", fullmatch=True) | TEXTS,
    TEXTS,
    st.sampled_from(["", "team/app"]),
    st.from_regex(r"[A-Za-z0-9._:/+=@-]{1,128}", fullmatch=True),
    st.sampled_from(["", "0af7651916cd43dd8448eb211c80319c"]),
    st.integers(0, 10**14),
    st.integers(0, 1 << 62),
)
@example('"duration_ms":0.0', "", '","request_id":"",', "", "id-1", "", 1_230_000, 0)
@example("\\", '"', '\\"request_id":""', "", "id-1", "", 10**9, 7)
@example("/" * 512, "n=" + "1" * 510, "a" * 256, "r" * 255, "i" * 128, "0" * 32, 10**14, 1 << 62)
def test_lines_of_requests_that_are_alike(  # noqa: PLR0913, PLR0917 - all that lines differ in
    path: str,
    query: str,
    agent: str,
    repository: str,
    request_id: str,
    trace_id: str,
    nanoseconds: int,
    size: int,
) -> None:
    """From the third line on that is made of the same, each is as if it were the first."""
    alike = Alike(
        request_line(
            time="", request_id="", message="GET", path="", bytes=0, duration_ms=0.0, user_agent=agent
        )
    )
    for style in (Json(), Human(colour=False)):
        for number in range(4):
            told: Told = (
                alike,
                1704207845_750_000_000 + number * 1_000_000_000,
                f"{request_id[:-1]}{number}",
                nanoseconds * number,
                trace_id,
                path[number:],
                query[number:],
                repository,
                size,
                size * number,
            )
            line = line_of_request(told)
            assert (line.path, line.query, line.repository) == (path[number:], query[number:], repository)
            assert (line.bytes, line.received) == (size, size * number)
            assert style.told(told) == style.request(line)


def test_cut() -> None:
    """The middle gives way, and says so."""
    assert cut("abcdefghij", 10) == "abcdefghij"
    assert cut("abcdefghijk", 10) == "abcd…hijk"
