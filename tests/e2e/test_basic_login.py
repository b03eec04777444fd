"""Logins by name and password against the real server, whose file of users changes while it serves."""

from __future__ import annotations

import base64
import subprocess
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import bcrypt
import pytest

from tests.cli.test_command import CLEAN, SCRIPT
from tests.e2e.pushing import EMPTY, MANIFEST, digest_of, make_manifest
from tests.http.serving import WAIT_SECONDS, until
from tests.http.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.conftest import Start
    from tests.e2e.server import Server
    from tests.http.wire import Response

WORKERS = 4
CONNECTIONS = 32
CHECKING_SECONDS = 120.0
"""For as many passwords as may wait, where others use the machine too."""
CHALLENGE = 'Basic realm="cargohold", charset="UTF-8"'


def authorization(name: str, password: str) -> str:
    return "Authorization: Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


NEIGHBOUR = "2001:db8:0:ffff::1"  # of those who guess
HOME = "192.0.2.1"

ANN = authorization("ann", "s3cret-pässwörd:with:colons")


def line(name: str, password: str, cost: int = 4) -> str:
    return f"{name}:{bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost)).decode()}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "users"
    path.write_text(line("ann", "s3cret-pässwörd:with:colons") + line("bob", "x"))
    return path


@pytest.fixture
def server(start: Start, file: Path) -> Server:
    return start({"workers": WORKERS, "auth.htpasswd": file, "limits.failed_logins": ""})


@contextmanager
def connections(server: Server) -> Iterator[list[Wire]]:
    """So many that every worker has some."""
    with ExitStack() as opened:
        yield [opened.enter_context(Wire(server.url)) for _ in range(CONNECTIONS)]


def statuses(wires: list[Wire], header: str) -> set[int]:
    """What all of them are answered."""
    return {wire.ask("GET", "/v2/", header).status for wire in wires}


def ask(
    server: Server, *headers: str, method: str = "GET", target: str = "/v2/", body: bytes = b""
) -> Response:
    with Wire(server.url) as wire:
        return wire.ask(method, target, *headers, body=body)


def htpasswd(command: str, *arguments: str | Path, password: str | None = None) -> None:
    """The command by which an operator changes the file."""
    words = [SCRIPT, "htpasswd", command, *map(str, arguments)]
    given = None if password is None else password.encode()
    if given is not None:
        words += ["--stdin", "--cost", "4"]
    ran = subprocess.run(
        words, input=given, capture_output=True, timeout=WAIT_SECONDS, check=False, env=CLEAN
    )
    assert ran.returncode == 0, ran.stderr


def test_a_login_is_asked_for(server: Server) -> None:
    """Without a login, and with one that does not hold, the answer is 401 with the same challenge and nothing else."""
    for headers in [
        (),
        (authorization("ann", "wrong"),),
        (authorization("eve", "x"),),
        (authorization("bob", ""),),
        ("Authorization: Basic ????",),
        ("Authorization: Basic YW5u",),
        ("Authorization: Digest username=ann",),
        ("Authorization: Bearer abc",),
        (ANN, ANN),
        ("Authorization: Basic \xe4",),
    ]:
        response = ask(server, *headers)
        assert (response.status, response["www-authenticate"]) == (401, CHALLENGE), headers
        assert b'"code":"UNAUTHORIZED"' in response.body
        assert b"ann" not in response.body


def test_who_is_unknown_cannot_be_told_from_who_is(server: Server) -> None:
    """A wrong password and an unknown name are answered byte by byte alike, but for the time of day."""
    answers = []
    for name in ("ann", "eve"):
        response = ask(server, authorization(name, "wrong"))
        answers.append(
            (
                response.status,
                [each for each in response.headers if each[0] not in ("date", "x-request-id")],
                response.body,
            )
        )
    assert answers[0] == answers[1]


def test_push_and_pull(server: Server) -> None:
    """With the login all that a push and a pull ask is done; without it nothing is."""
    manifest = make_manifest("signed in")
    steps = [
        ("POST", f"/v2/team/app/blobs/uploads/?digest={digest_of(EMPTY)}", EMPTY, 201),
        ("PUT", "/v2/team/app/manifests/v1", manifest, 201),
        ("GET", "/v2/team/app/manifests/v1", b"", 200),
        ("HEAD", "/v2/team/app/manifests/v1", b"", 200),
        ("GET", f"/v2/team/app/blobs/{digest_of(EMPTY)}", b"", 200),
        ("GET", "/v2/team/app/tags/list", b"", 200),
        ("GET", "/v2/_catalog", b"", 200),
        ("DELETE", f"/v2/team/app/manifests/{digest_of(manifest)}", b"", 202),
    ]
    with Wire(server.url) as stranger, Wire(server.url) as user:
        for method, target, body, expected in steps:
            kind = f"Content-Type: {MANIFEST}"
            assert stranger.ask(method, target, kind, body=body).status == 401
            assert user.ask(method, target, kind, ANN, body=body).status == expected


def test_users_come_and_go_without_a_restart(server: Server, file: Path) -> None:
    """A user who is added can log in, one who is removed cannot, and another password replaces the one before.

    So it is in every worker, on connections that stay open, and for logins that were remembered.
    """
    eve, better = authorization("eve", "new"), authorization("bob", "better")
    with connections(server) as wires:
        assert statuses(wires, ANN) == statuses(wires, authorization("bob", "x")) == {200}
        assert statuses(wires, eve) == {401}
        htpasswd("add", file, "eve", password="new")
        until(lambda: statuses(wires, eve) == {200})
        assert statuses(wires, ANN) == {200}
        htpasswd("add", file, "bob", password="better")
        until(lambda: statuses(wires, better) == {200})
        assert statuses(wires, authorization("bob", "x")) == {401}
        htpasswd("delete", file, "ann")
        until(lambda: statuses(wires, ANN) == {401})
        assert statuses(wires, eve) == statuses(wires, better) == {200}


def test_a_faulty_file_locks_nobody_out(server: Server, file: Path) -> None:
    """While the file is no file of users, those of the last good one can log in, and the log says why."""
    with connections(server) as wires:
        good = file.read_text()
        file.write_text("ann\n" + line("eve", "new"))
        until(lambda: wires[0].ask("GET", "/v2/", ANN).status == 200 and "line 1" in server.log)
        assert statuses(wires, ANN) == {200}
        assert statuses(wires, authorization("eve", "new")) == {401}
        file.unlink()
        until(lambda: statuses(wires, ANN) == {200} and "No such file" in server.log)
        file.write_text(good + line("eve", "new"))
        until(lambda: statuses(wires, authorization("eve", "new")) == {200})


def test_a_remembered_login_needs_no_check(start: Start, file: Path) -> None:
    """A login is checked once in each worker: a hash that takes seconds does not hold up those who come again."""
    file.write_text(line("ann", "slow", cost=14))
    server = start({"workers": 1, "auth.htpasswd": file})
    slow = authorization("ann", "slow")
    with Wire(server.url) as wire:
        assert {wire.ask("GET", "/v2/", slow).status for _ in range(2000)} == {200}


def test_many_guesses_do_not_hold_up_who_is_known(start: Start, file: Path) -> None:
    """More guesses at once than can be checked are told to come again; who is remembered is served meanwhile."""
    file.write_text(line("ann", "right", cost=11))
    server = start({"workers": 1, "auth.htpasswd": file, "limits.failed_logins": ""})
    right = authorization("ann", "right")

    def guess(number: int) -> Response:
        with Wire(server.url) as wire:
            wire.socket.settimeout(CHECKING_SECONDS)
            return wire.ask("GET", "/v2/", authorization("ann", str(number)))

    with Wire(server.url) as known, ThreadPoolExecutor(120) as guessing:
        assert known.ask("GET", "/v2/", right).status == 200
        guesses = [guessing.submit(guess, number) for number in range(120)]
        served = 0
        while not all(guess.done() for guess in guesses):
            assert known.ask("GET", "/v2/", right).status == 200
            served += 1
        answers = [guess.result() for guess in guesses]
    assert served > 0
    counted = Counter(answer.status for answer in answers)
    assert counted.keys() == {401, 429}
    assert counted[401] >= 66
    for answer in answers:
        if answer.status == 429:
            assert answer["retry-after"] == "1"
            assert b'"code":"TOOMANYREQUESTS"' in answer.body


def test_a_network_that_guesses_holds_up_nobody_who_comes_anew(start: Start, file: Path) -> None:
    """While one network sends more guesses than can be checked, from many of its addresses, others log in anew."""
    file.write_text(line("ann", "right", cost=10))
    server = start(
        {
            "workers": 1,
            "auth.htpasswd": file,
            "auth.remember": 0,
            "server.trusted_proxies": '["127.0.0.1"]',
        }
    )
    over = threading.Event()

    def guess(number: int) -> Counter[int]:
        answered: Counter[int] = Counter()
        with Wire(server.url) as wire:
            for each in range(10_000):
                if over.is_set():
                    break
                network = f"X-Forwarded-For: 2001:db8:0:{(7 * number + each) % 256:x}::1"
                header = authorization(f"user{number}", f"{each}")
                answered[wire.ask("GET", "/v2/", header, network).status] += 1
        return answered

    with ThreadPoolExecutor(100) as guessing:
        guessers = [guessing.submit(guess, number) for number in range(100)]
        try:
            until(
                lambda: ask(server, authorization("eve", "x"), f"X-Forwarded-For: {NEIGHBOUR}").status == 429
            )
            answers = [
                ask(server, authorization("ann", "right"), f"X-Forwarded-For: {HOME}") for _ in range(5)
            ]
        finally:
            over.set()
        told = sum((guesser.result() for guesser in guessers), Counter[int]())
    assert [answer.status for answer in answers] == [200] * 5
    assert told.keys() == {401, 429}


def test_no_password_is_logged(start: Start, file: Path) -> None:
    """Whatever becomes of a login, the log at its most talkative holds neither password nor header nor hash."""
    server = start({"auth.htpasswd": file, "log.level": "debug"})
    for header in (
        ANN,
        authorization("ann", "gue55"),
        authorization("eve", "gue55"),
        "Authorization: Basic gue55",
    ):
        ask(server, header)
    server.stop()
    assert "serving on" in server.log
    hashes = [each.partition(":")[2] for each in file.read_text().splitlines()]
    for secret in ["s3cret", "gue55", *(header.split()[-1] for header in (ANN,)), *hashes]:
        assert secret not in server.log


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file or directory"),
        ("ann\n", "line 1: it has no colon between a name and a hash"),
    ],
)
def test_no_start_without_a_good_file(tmp_path: Path, content: str | None, message: str) -> None:
    """Where the file cannot be read there is no start, and the message names the file and its fault."""
    file = tmp_path / "users"
    if content is not None:
        file.write_text(content)
    words = [
        SCRIPT,
        "serve",
        "--port",
        "0",
        "--storage-path",
        str(tmp_path / "data"),
        "--set",
        f"auth.htpasswd={file}",
    ]
    ran = subprocess.run(words, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False, env=CLEAN)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == f"cargohold: cannot read the users of {file}: {message}\n"
