"""The page on logs: its table, its lines, and what jq finds in the log of a real server."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import bcrypt
import pytest

from cargohold.http.access_log import LONGEST_AGENT, LONGEST_PATH, SHOWN_PARAMETERS
from cargohold.observe.lines import Human, Json, RecordLine, RequestLine
from cargohold.observe.writer import BACKLOG_BYTES, DELAY_SECONDS, PIECE_BYTES
from tests.docs.blocks import blocks_of, text_of
from tests.e2e.clients.absence import require
from tests.e2e.server import Server
from tests.e2e.test_log_secrets import PASSWORD, USER, basic
from tests.e2e.test_logs import INDEX, damaged
from tests.http.wire import Wire

if TYPE_CHECKING:
    from pathlib import Path

PAGE = "logs.md"
ID = "5b0e6f0a9c2d4e11-1"
MANIFEST = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": []}).encode()


def test_the_table_has_every_field() -> None:
    """The table of fields names those that lines may have, and no other."""
    table = text_of(PAGE).partition("| field |")[2].partition("\n\n")[0]
    named = re.findall(r"`([a-z_]+)`", "".join(re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)))
    assert sorted(named) == sorted({*RequestLine.__struct_fields__, *RecordLine.__struct_fields__})


def test_lines_are_as_shown() -> None:
    """The lines of a request that the page shows are what is written of one."""
    (human,), (shown,) = (
        [block.text for block in blocks_of(PAGE, "text") if block.text.startswith(begin)]
        for begin in ("2", "{")
    )
    line = RequestLine(**json.loads(shown))
    assert Json().request(line).decode() == shown
    assert Human(colour=False).request(line).decode() == human.splitlines(keepends=True)[1]


def test_numbers_are_as_told() -> None:
    """The limits on the page are those of the code, and so is the list of parameters."""
    text = " ".join(text_of(PAGE).split())
    assert f"longer than {LONGEST_PATH:,} characters" in text
    assert f"at most {LONGEST_AGENT} characters" in text
    assert f"at most {PIECE_BYTES:,} bytes" in text
    assert f"after {DELAY_SECONDS * 1000:g} ms at the latest" in text
    assert f"keeps {BACKLOG_BYTES >> 20} MiB of lines" in text
    listed = text.partition("these show their values: ")[2].partition(". ")[0]
    assert re.findall(r"`([A-Za-z-]+)`", listed) == sorted(SHOWN_PARAMETERS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the log of a server that has been asked for one thing and another."""
    folder = tmp_path_factory.mktemp("logs")
    damaged(folder / "data", ["team/broken"])
    users = folder / "htpasswd"
    users.write_text(f"{USER}:{bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()}\n")
    server = Server(folder / "data", {"auth.htpasswd": users})
    login = basic(USER, PASSWORD)
    with Wire(server.url) as wire:
        wire.ask("GET", "/v2/")
        wire.ask("PUT", "/v2/team/app/manifests/v1", login, f"Content-Type: {INDEX}", body=MANIFEST)
        wire.ask("GET", "/v2/team/app/manifests/v1", login)
        wire.ask("GET", "/v2/team/broken/manifests/v1", login, f"X-Request-ID: {ID}")
    assert server.stop() == 0
    (folder / "registry.log").write_text(server.log)
    return folder


def asked(folder: Path, title: str) -> list[Any]:
    """What the command of the page prints that comes after these words: values of JSON, or lines."""
    require("jq")
    before = text_of(PAGE).partition(title)[2]
    (command,) = re.findall(r"^```sh\n(jq .*)\n```", before, re.MULTILINE)[:1]
    shell = shutil.which("sh") or os.devnull
    done = subprocess.run(
        [shell, "-c", command], cwd=folder, capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_what_failed(folder: Path) -> None:
    """Of a request that failed by our fault there are two lines with one id: the cause, and the request's."""
    cause, request = map(json.loads, asked(folder, "what failed by the registry's fault"))
    assert (cause[1], request[1]) == (ID, ID)
    assert request[2] == "GET /v2/team/broken/manifests/v1 503"
    assert cause[2].startswith("GET /v2/team/broken/manifests/v1: ")


def test_all_of_one_request(folder: Path) -> None:
    """Whatever was told during a request is found by its id."""
    assert "".join(asked(folder, "all that is known of one request")).count(f'"request_id": "{ID}"') == 2


def test_the_slowest(folder: Path) -> None:
    """All four requests, the slowest first."""
    found = [json.loads(line) for line in asked(folder, "the ten slowest requests")]
    assert len(found) == 4
    assert found == sorted(found, key=lambda each: -each[0])
    assert {each[2] for each in found} >= {"/v2/", "/v2/team/app/manifests/v1"}


def test_bytes_of_repositories(folder: Path) -> None:
    """A line for each repository."""
    found = dict(line.split()[::-1] for line in asked(folder, "how many bytes were promised"))
    assert found.keys() == {"team/app", "team/broken"}
    assert int(found["team/app"]) == len(MANIFEST)


def test_who_pushed(folder: Path) -> None:
    """The one push, and whose it was."""
    ((_, user, path),) = map(json.loads, asked(folder, "who pushed which manifest"))
    assert (user, path) == (USER, "/v2/team/app/manifests/v1")


def test_where_logins_are_refused(folder: Path) -> None:
    """The one request without a login counts for its address."""
    assert [line.split() for line in asked(folder, "from where logins were refused")] == [["1", "127.0.0.1"]]
