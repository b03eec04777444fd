"""The token service of the real server: over several workers, through rotations of its keys and changes of users."""

from __future__ import annotations

import base64
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import bcrypt
import pytest

from tests.cli.test_command import SCRIPT, run
from tests.http.serving import until
from tests.http.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.conftest import Start
    from tests.e2e.server import Server

WORKERS = 4
CONNECTIONS = 32
BASIC = "Authorization: Basic " + base64.b64encode(b"ann:secret").decode()


def write_users(path: Path, password: bytes) -> None:
    path.write_text(f"ann:{bcrypt.hashpw(password, bcrypt.gensalt(4)).decode()}\n")


@pytest.fixture
def users(tmp_path: Path) -> Path:
    write_users(tmp_path / "htpasswd", b"secret")
    return tmp_path / "htpasswd"


@pytest.fixture
def server(start: Start, users: Path) -> Server:
    return start(
        {
            "workers": WORKERS,
            "auth.htpasswd": users,
            "auth.challenge": "bearer",
            "limits.failed_logins": "",
        }
    )


@contextmanager
def connections(server: Server) -> Iterator[list[Wire]]:
    """So many that every worker has some."""
    with ExitStack() as opened:
        yield [opened.enter_context(Wire(server.url)) for _ in range(CONNECTIONS)]


def granted(wire: Wire, **more: str) -> dict[str, Any]:
    """What a user's login is answered."""
    query = urlencode({"service": "cargohold", "scope": "repository:team/app:pull,push", **more})
    answer = wire.ask("GET", f"/auth/token?{query}", BASIC)
    assert answer.status == 200, answer
    body: dict[str, Any] = json.loads(answer.body)
    return body


def status(wire: Wire, token: str) -> int:
    """Of a request that the scope of `granted` covers, for something that is not there: 404 where it is let through."""
    return wire.ask("GET", "/v2/team/app/tags/list", f"Authorization: Bearer {token}").status


def rotate(server: Server, *options: str) -> str:
    ran = run(SCRIPT, "keys", "rotate", *options, "--storage-path", str(server.storage))
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def published(wire: Wire) -> list[str]:
    answer = wire.ask("GET", "/auth/keys")
    assert answer.status == 200
    return [key["kid"] for key in json.loads(answer.body)["keys"]]


def test_one_service(server: Server) -> None:
    """Workers that start at once share a key, and each accepts what another has issued."""
    with connections(server) as wires:
        tokens = [granted(wire)["token"] for wire in wires]
        assert {status(wire, token) for wire, token in zip(wires, reversed(tokens), strict=True)} == {404}
        assert len({tuple(published(wire)) for wire in wires}) == 1
    assert len(list((server.storage / "cargohold" / "keys").glob("*.jwk"))) == 1


def test_the_challenge_leads_to_the_service(server: Server) -> None:
    """A refused request is sent to the host by which it came, for a token with which it is let through."""
    with Wire(server.url) as wire:
        refused = wire.ask("GET", "/v2/team/app/tags/list")
        assert refused.status == 401
        scheme, _, text = refused["www-authenticate"].partition(" ")
        said = dict(part.split("=", 1) for part in text.split('",'))
        challenge = {name: value.strip('"') for name, value in said.items()}
        assert (scheme, challenge["realm"]) == ("Bearer", "http://registry/auth/token")
        query = urlencode({"service": challenge["service"], "scope": challenge["scope"]})
        answer = wire.ask("GET", f"/auth/token?{query}", BASIC)
        assert status(wire, json.loads(answer.body)["token"]) == 404


def test_limits_of_users_hold(start: Start, users: Path) -> None:
    """Each way to a token counts for its user, over all workers; for a robot of the same name another count is kept."""
    server = start(
        {"workers": 2, "auth.htpasswd": users, "limits.user.reads": "3/day", "limits.user.writes": "3/day"}
    )
    made = run(SCRIPT, "token", "create", "ann", "--repository", "**", "--storage-path", str(server.storage))
    assert made.returncode == 0, made.stderr
    robot = "Authorization: Basic " + base64.b64encode(f"x:{made.stdout.strip()}".encode()).decode()
    kind = "Content-Type: application/x-www-form-urlencoded"
    with connections(server) as wires:

        def get(login: str) -> list[int]:
            return [wire.ask("GET", "/auth/token", login).status for wire in wires[:5]]

        def post(**form: str) -> list[int]:
            body = urlencode(form).encode()
            return [wire.ask("POST", "/auth/token", kind, body=body).status for wire in wires[:2]]

        refresh_token = granted(wires[0], offline_token="true")["refresh_token"]
        assert get(BASIC) == [200, 200, 429, 429, 429]
        assert get(robot) == [200, 200, 200, 429, 429]
        assert post(grant_type="password", username="ann", password="secret") == [200, 200]
        assert post(grant_type="refresh_token", refresh_token=refresh_token) == [200, 429]
        assert post(grant_type="password", username="ann", password="secret") == [429, 429]
        refused = wires[0].ask("GET", "/auth/token", BASIC)
        assert int(refused["retry-after"]) > 0
        assert wires[0].ask("GET", "/v2/", BASIC).status == 429


def test_rotation_at_once(server: Server) -> None:
    """After `keys rotate --now` no worker accepts what was issued before, and each what is issued from then on."""
    with connections(server) as wires:
        old = granted(wires[0])["token"]
        assert {status(wire, old) for wire in wires} == {404}
        kid = rotate(server, "--now")
        until(lambda: {status(wire, old) for wire in wires} == {401})
        assert [published(wire) for wire in wires] == [[kid]] * CONNECTIONS
        new = granted(wires[-1])["token"]
        assert {status(wire, new) for wire in wires} == {404}


def test_rotation_disturbs_nobody(server: Server) -> None:
    """Through rotations, every token that is issued is accepted by every worker, from its first moment on."""
    kids: list[str] = []
    ended = threading.Event()

    def use(wires: list[Wire]) -> int:
        used = 0
        while not ended.is_set() or used == 0:
            token = granted(wires[0])["token"]
            assert [status(wire, token) for wire in wires] == [404] * len(wires)
            used += 1
        return used

    with connections(server) as wires, ThreadPoolExecutor(2) as pool:
        users = [pool.submit(use, wires[first::2]) for first in range(2)]
        try:
            kids += (rotate(server) for _ in range(3))
        finally:
            ended.set()
        assert all(user.result(60) for user in users)
        until(lambda: all(set(kids) < set(published(wire)) for wire in wires))


def test_new_password(server: Server, users: Path) -> None:
    """With the password, all that was issued for it ends on every worker: tokens and refresh tokens."""
    with connections(server) as wires:
        body = granted(wires[0], offline_token="true")
        form = urlencode({"grant_type": "refresh_token", "refresh_token": body["refresh_token"]}).encode()

        def refreshed(wire: Wire) -> int:
            kind = "Content-Type: application/x-www-form-urlencoded"
            return wire.ask("POST", "/auth/token", kind, body=form).status

        assert {refreshed(wire) for wire in wires} == {200}
        assert {status(wire, body["token"]) for wire in wires} == {404}
        write_users(users, b"another")
        until(lambda: {status(wire, body["token"]) for wire in wires} == {401})
        assert {refreshed(wire) for wire in wires} == {401}


def test_restart(start: Start, users: Path, tmp_path: Path) -> None:
    """Tokens and refresh tokens outlive the server; of neither, nor of the password, is anything in its log."""
    settings = {"auth.htpasswd": users, "auth.challenge": "bearer"}
    first = start(settings, storage=tmp_path / "data")
    with Wire(first.url) as wire:
        body = granted(wire, offline_token="true")
    assert first.stop() == 0
    second = start({**settings, "log.level": "debug"}, storage=tmp_path / "data")
    with Wire(second.url) as wire:
        assert status(wire, body["token"]) == 404
        form = urlencode({"grant_type": "refresh_token", "refresh_token": body["refresh_token"]}).encode()
        kind = "Content-Type: application/x-www-form-urlencoded"
        assert wire.ask("POST", "/auth/token", kind, body=form).status == 200
    assert second.stop() == 0
    for server in (first, second):
        assert not [
            secret for secret in ("secret", body["token"], body["refresh_token"]) if secret in server.log
        ]


def test_key_that_others_may_read(start: Start, users: Path, tmp_path: Path) -> None:
    """The server does not start with a private key that others may read, and says what to do."""
    settings = {"auth.htpasswd": users}
    server = start(settings, storage=tmp_path / "data")
    assert server.stop() == 0
    (path,) = (tmp_path / "data" / "cargohold" / "keys").glob("*.jwk")
    path.chmod(0o644)
    with pytest.raises(AssertionError, match=rf"cargohold: .*{path.name} is a private key that others"):
        start(settings, storage=tmp_path / "data")
