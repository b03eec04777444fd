from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from cargohold.observe.lines import REQUESTS, Alike
from cargohold.observe.logs import hand_on, set_up_as_guest
from tests.observe.test_log_lines import request_line

if TYPE_CHECKING:
    from pathlib import Path

HOST = """
import logging, sys, warnings
from cargohold.observe import logs
log = {set_up}
"""
SERVER = HOST.format(set_up="logs.set_up({level!r}, 'json', lambda: ('id-1', 'trace-1'))")
GUEST = HOST.format(set_up="logs.set_up_as_guest('info', 'json', lambda: ('', ''))")


def told(program: str, *, code: int = 0) -> list[dict[str, Any]]:
    """The lines that a program of a process of its own logs."""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == code, done.stderr
    return [json.loads(line) for line in done.stderr.splitlines()]


def messages(program: str, *, code: int = 0) -> list[tuple[str, str, str]]:
    return [(line["level"], line["logger"], line["message"]) for line in told(program, code=code)]


@pytest.mark.parametrize(
    ("level", "ours"), [("debug", ["DEBUG", "INFO", "WARNING"]), ("warning", ["WARNING"]), ("error", [])]
)
def test_levels(level: str, ours: list[str]) -> None:
    """The level is of our own lines; those of libraries begin with warnings, for they do not know our secrets."""
    program = SERVER.format(level=level) + (
        "for name in ('cargohold.some', 'httpx2'):\n"
        "    for level in (logging.DEBUG, logging.INFO, logging.WARNING):\n"
        "        logging.getLogger(name).log(level, 'told')\n"
    )
    others = ["WARNING"] if level != "error" else []
    assert [line["level"] for line in told(program) if line["logger"] == "cargohold.some"] == ours
    assert [line["level"] for line in told(program) if line["logger"] == "httpx2"] == others


def test_lines_bear_the_ids() -> None:
    """What is told while a request is answered has the ids of the request and of its trace."""
    (line,) = told(SERVER.format(level="info") + "logging.getLogger('cargohold').warning('told')")
    assert (line["request_id"], line["trace_id"]) == ("id-1", "trace-1")


def test_the_start_is_told_at_any_level() -> None:
    """Whoever starts the program waits for it."""
    program = SERVER.format(level="error") + "logs.tell(logging.getLogger('cargohold.app'), 'it serves')"
    assert messages(program) == [("INFO", "cargohold.app", "it serves")]


def test_warnings_are_lines() -> None:
    """A warning of the interpreter is a line like others, with its place."""
    (line,) = told(SERVER.format(level="info") + "warnings.warn('old', RuntimeWarning)")
    assert (line["level"], line["logger"]) == ("WARNING", "py.warnings")
    assert line["message"].startswith("RuntimeWarning: old (<string>:")


def test_the_last_error_is_a_line() -> None:
    """An exception that nobody catches is told with its traceback, and ends the program as it would have."""
    (line,) = told(SERVER.format(level="info") + "raise ValueError('of ours')", code=1)
    assert line["level"] == "CRITICAL"
    assert line["exception"].startswith("Traceback")
    assert line["exception"].endswith("ValueError: of ours")


def test_nothing_is_lost_at_an_exit() -> None:
    """Lines that are gathered when the program exits, whatever its exit code, are written before it ends."""
    program = SERVER.format(level="info") + (
        "import asyncio\n"
        "async def run():\n"
        "    log.start(asyncio.get_running_loop())\n"
        "    for number in range(500):\n"
        "        logging.getLogger('cargohold').info('%d', number)\n"
        "    sys.exit(3)\n"
        "asyncio.run(run())\n"
    )
    assert [line["message"] for line in told(program, code=3)] == [str(number) for number in range(500)]


def test_stderr_is_closed(tmp_path: Path) -> None:
    """What is told then goes nowhere: least of all into the file that was opened next."""
    program = SERVER.format(level="info") + (
        "file = open(sys.argv[1], 'w+')\n"
        "logging.getLogger('cargohold').error('told')\n"
        "print(file.read(), file.fileno())\n"
    )
    done = subprocess.run(
        ["sh", "-c", f'exec {sys.executable} -c "$0" "$1" 2>&-', program, str(tmp_path / "blob")],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout.strip().isdigit()
    assert (tmp_path / "blob").read_bytes() == b""


@pytest.mark.parametrize(
    ("environ", "colour"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_a_terminal_gets_the_form_for_people(environ: dict[str, str], *, colour: bool) -> None:
    """`auto` is for people in a terminal, in colour unless the terminal or its user wants none."""
    program = SERVER.format(level="info").replace("'json'", "'auto'")
    primary, secondary = os.openpty()
    with open(primary, "rb", buffering=0) as screen:
        subprocess.run(
            [sys.executable, "-c", program + "logging.getLogger('cargohold.some').error('told')"],
            stderr=secondary,
            env={"TERM": "xterm", "PYTHONPATH": os.environ.get("PYTHONPATH", ""), **environ},
            timeout=30,
            check=True,
        )
        os.close(secondary)
        line = screen.read(1000).decode()
    level = "\x1b[31mERROR\x1b[0m" if colour else "ERROR"
    assert line.partition(" ")[2] == f"{level} cargohold.some: told id-1 trace-1\r\n"


def test_a_guest_leaves_the_log_of_its_host_alone() -> None:
    """Where the application around us has a log, ours are its records, requests with their fields."""
    assert set_up_as_guest("debug", "json", lambda: ("", "")) is None  # pytest has one
    assert logging.getLogger("cargohold").propagate


def test_requests_in_the_log_of_a_host(caplog: pytest.LogCaptureFixture) -> None:
    """A formatter of the host's finds each field on the record."""
    caplog.set_level(logging.INFO, REQUESTS)
    alike = Alike(request_line(message="GET", path="", status=404, user="ann"))
    hand_on((alike, 1704207845_750_000_000, "id-1", 250_000, "", "/v2/", "", "", 2, 0))
    (record,) = caplog.records
    assert (record.levelno, record.name, record.getMessage()) == (logging.INFO, REQUESTS, "GET /v2/ 404")
    fields = vars(record)
    assert (fields["status"], fields["user"], fields["duration_ms"]) == (404, "ann", 0.25)


def test_a_guest_without_a_host_tells_by_itself() -> None:
    """Where nobody has a log, our lines go to standard error, and the root logger stays as it was."""
    program = GUEST + (
        "logging.getLogger('cargohold.some').info('ours')\n"
        "logging.getLogger('other').info('not ours')\n"
        "assert not logging.getLogger().handlers\n"
    )
    assert messages(program) == [("INFO", "cargohold.some", "ours")]
