"""The log of the real server: what it tells of requests, what it never tells, and that nobody waits for its reader."""

from __future__ import annotations

import base64
import json
import os
import re
import resource
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import bcrypt
import httpx2
import pytest

from tests.cli.test_command import SCRIPT
from tests.e2e.pushing import EMPTY, digest_of
from tests.e2e.server import Server
from tests.http.serving import until
from tests.http.wire import Wire

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.conftest import Start

INDEX = "application/vnd.oci.image.index.v1+json"
USER, PASSWORD = "ann", "r1ght-passw0rd"


def lines(server: Server) -> list[dict[str, Any]]:
    """What a server that has ended logged, all of which must be JSON."""
    assert server.stop() == 0
    return [json.loads(line) for line in server.log.splitlines()]


def requests(server: Server) -> list[dict[str, Any]]:
    return [line for line in lines(server) if line["logger"] == "cargohold.requests"]


def basic(name: str, password: str) -> str:
    return "Authorization: Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


@pytest.fixture
def users(tmp_path: Path) -> Path:
    file = tmp_path / "htpasswd"
    file.write_text(f"{USER}:{bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()}\n")
    return file


def test_what_is_told_of_requests(start: Start, users: Path) -> None:
    """Each request has its line: who, what, the answer, the bytes of both bodies, and the id that its client got."""
    server = start({"auth.htpasswd": users})
    digest = digest_of(EMPTY)
    with Wire(server.url) as wire:
        target = f"/v2/team/app/blobs/uploads/?digest={digest}"
        wire.ask("POST", target, basic(USER, PASSWORD), "X-Request-ID: of-mine", body=EMPTY)
        answer = wire.ask("GET", f"/v2/team/app/blobs/{digest}", basic(USER, PASSWORD), "User-Agent: crane/1")
        assert answer.body == EMPTY
        refused = wire.ask("GET", "/v2/")
        wire.ask("GET", "/health")
    pushed, pulled, refusal = requests(server)
    assert pushed["request_id"] == "of-mine"
    assert (pushed["method"], pushed["path"]) == ("POST", "/v2/team/app/blobs/uploads/")
    assert (pushed["query"], pushed["received"], pushed["bytes"]) == (f"digest={digest}", len(EMPTY), 0)
    assert (pushed["user"], pushed["user_sort"], pushed["repository"]) == (USER, "user", "team/app")
    assert (pulled["status"], pulled["bytes"], pulled["received"]) == (200, len(EMPTY), 0)
    assert (pulled["user_agent"], pulled["client"], pulled["level"]) == ("crane/1", "127.0.0.1", "INFO")
    assert pulled["request_id"] == answer["x-request-id"]
    assert (refusal["status"], refusal["bytes"]) == (401, len(refused.body))
    assert not {"user", "user_sort"} & refusal.keys()


def test_requests_are_told_or_not(start: Start) -> None:
    """`log.requests` off leaves the rest of the log; `log.level` debug brings in those for health."""
    quiet, talkative = start({"log.requests": "false"}), start({"log.level": "debug"})
    for server in (quiet, talkative):
        httpx2.get(f"{server.url}/health", timeout=30)
        httpx2.get(f"{server.url}/v2/", timeout=30)
    told = {line["logger"] for line in lines(quiet)}
    assert "cargohold.app" in told
    assert "cargohold.requests" not in told
    assert {(line["path"], line["level"]) for line in requests(talkative)} == {
        ("/health", "DEBUG"),
        ("/v2/", "INFO"),
    }


def test_the_client_behind_a_proxy(start: Start) -> None:
    """The client of a line is the one that a trusted proxy names."""
    server = start({"server.trusted_proxies": '["127.0.0.1"]'})
    httpx2.get(f"{server.url}/v2/", headers={"X-Forwarded-For": "192.0.2.7"}, timeout=30)
    assert [line["client"] for line in requests(server)] == ["192.0.2.7"]


def test_hostile_requests_are_one_line_each(start: Start) -> None:
    """Line feeds, orders to terminals, other quotes and endless names stay within the line that they are told in."""
    server = start({"log.level": "debug"})
    targets = [
        "/v2/%0a%7B%22level%22:%22ERROR%22%7D/x",
        "/%1b%5B2J%C2%9B2J",
        '/%22%5C,"',
        f"/{'%e2%80%ae' * 800}",
    ]
    with Wire(server.url) as wire:
        for target in targets:
            assert wire.ask("GET", target, f'User-Agent: "}}\\n{"a" * 5000}').status == 404
    assert len(requests(server)) == len(targets)
    assert all(line.isprintable() for line in server.log.splitlines())


def test_a_worker_that_cannot_start(tmp_path: Path) -> None:
    """What ends a worker is told in its line, as all else is: here the next one may open no files."""
    server = Server(tmp_path / "data", {"workers": 2})
    limits = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (10, limits[1]))
    os.kill(server.workers()[0], signal.SIGKILL)
    until(lambda: "Too many open files" in server.log)
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, limits)
    told = [line for line in lines(server) if line["level"] == "CRITICAL"]
    assert {line["logger"] for line in told} == {"cargohold.http.supervisor"}
    assert all("OSError" in line["exception"] for line in told)


def damaged(storage: Path, names: list[str]) -> None:
    """Leave repositories, each with a manifest whose stored bytes are damaged: an error of ours at each pull."""
    server = Server(storage)
    with Wire(server.url) as wire:
        for name in names:
            index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [], "annotations": {"of": name}}
            body = json.dumps(index).encode()
            answer = wire.ask("PUT", f"/v2/{name}/manifests/v1", f"Content-Type: {INDEX}", body=body)
            assert answer.status == 201
    assert server.stop() == 0
    for data in (storage / "docker/registry/v2/blobs").glob("*/*/*/data"):
        data.write_bytes(b"{}")


def test_ids_never_mix(tmp_path: Path) -> None:
    """What is told in the middle of a request bears its id and no other's, however many are answered at once."""
    names = [f"team/app{number}" for number in range(40)]
    damaged(tmp_path / "data", names)
    server = Server(tmp_path / "data")

    def ask(name: str) -> None:
        with Wire(server.url) as wire:
            for turn in range(5):
                given = f"{name}:{turn}"
                answer = wire.ask("GET", f"/v2/{name}/manifests/v1", f"X-Request-ID: {given}")
                assert (answer.status, answer["x-request-id"]) == (503, given)

    with ThreadPoolExecutor(len(names)) as at_once:
        list(at_once.map(ask, names))
    errors = [line for line in lines(server) if line["level"] == "ERROR"]
    causes = [line for line in errors if "exception" in line]
    assert len(causes) == 5 * len(names)
    assert len(errors) == 2 * len(causes)
    for line in causes:
        assert line["message"].startswith(f"GET /v2/{line['request_id'].partition(':')[0]}/manifests/v1")
    for line in errors:
        if "path" in line:
            assert line["path"] == f"/v2/{line['request_id'].partition(':')[0]}/manifests/v1"


def test_nothing_is_lost_at_a_stop(start: Start) -> None:
    """Each request that was answered, by whichever worker, is in the log of a server that ended; each line is whole."""
    server = start({"workers": 3})

    def ask(who: int) -> None:
        with Wire(server.url) as wire:
            for number in range(100):
                assert wire.ask("GET", f"/v2/{who}/{number}").status == 404

    with ThreadPoolExecutor(16) as at_once:
        list(at_once.map(ask, range(16)))
    told = sorted(line["path"] for line in requests(server))
    assert told == sorted(f"/v2/{who}/{number}" for who in range(16) for number in range(100))


def test_nobody_waits_for_the_reader(tmp_path: Path) -> None:
    """Who reads standard error may stop for as long as it likes: requests go on, and what was dropped is told after."""
    reader, end = os.pipe()
    options = {"port": 0, "workers": 2, "storage.path": tmp_path / "data", "metrics.access": "nobody"}
    arguments = [word for name, value in options.items() for word in ("--set", f"{name}={value}")]
    with subprocess.Popen([SCRIPT, "serve", *arguments], stderr=end) as server:
        os.close(end)
        with os.fdopen(reader, "rb") as log:
            first = json.loads(log.readline())
            (url,) = re.findall(r"serving on (\S+),", first["message"])
            agent = f"User-Agent: {'a' * 250}"

            def ask(_: int) -> None:
                with Wire(url) as wire:
                    for _ in range(800):
                        assert wire.ask("GET", f"/v2/{'p' * 900}", agent).status == 404

            with ThreadPoolExecutor(4) as at_once:  # together about 8 MB of log, of which 2 are kept
                list(at_once.map(ask, range(4)))
            os.set_blocking(reader, True)
            with ThreadPoolExecutor(1) as reading:
                rest = reading.submit(log.read)
                server.send_signal(signal.SIGTERM)
                assert server.wait(30) == 0
                told = [json.loads(line) for line in rest.result(30).splitlines()]
    dropped = [
        int(found[1])
        for line in told
        if (found := re.match(r"(\d+) lines of the log were dropped", line["message"]))
    ]
    answered = [line for line in told if line["logger"] == "cargohold.requests"]
    assert dropped
    assert len(answered) + sum(dropped) == 3200
