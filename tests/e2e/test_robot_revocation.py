"""Robots on the real server: one that is revoked is refused by every worker at the very next request."""

from __future__ import annotations

import base64
import json
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest

from tests.cli.test_command import SCRIPT, run
from tests.e2e.pushing import worker_of
from tests.e2e.server import Server
from tests.http.serving import until
from tests.http.wire import Wire
from tests.storage.places import read_only_view

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.conftest import Start
    from tests.http.wire import Response

WORKERS = 4
CONNECTIONS = 64
# Many logins fail here, and not by guessing.
SETTINGS = {"workers": WORKERS, "auth.required": True, "limits.failed_logins": ""}
MANIFEST = b'{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []}'


@pytest.fixture
def server(start: Start) -> Server:
    return start(SETTINGS)


def create(storage: Path, name: str, permissions: str = "pull,push") -> str:
    """The secret of a new robot for all below `org`."""
    words = [name, "--repository", "org/**", "--permission", permissions, "--storage-path", str(storage)]
    made = run(SCRIPT, "token", "create", *words)
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


def revoke(storage: Path, name: str) -> None:
    ran = run(SCRIPT, "token", "revoke", name, "--storage-path", str(storage))
    assert ran.returncode == 0, ran.stderr


def basic(secret: str) -> str:
    return "Authorization: Basic " + base64.b64encode(f"robot:{secret}".encode()).decode()


def bearer(token: str) -> str:
    return f"Authorization: Bearer {token}"


@contextmanager
def connections(server: Server) -> Iterator[list[Wire]]:
    """CONNECTIONS of them, kept open, of which each worker holds some."""
    with ExitStack() as opened:
        wires = [opened.enter_context(Wire(server.url)) for _ in range(CONNECTIONS)]
        for wire in wires:
            assert wire.ask("GET", "/v2/").status == 401
        held = Counter(worker_of(server, wire) for wire in wires)
        assert sorted(held) == sorted(server.workers()), held
        yield wires


def pull(wire: Wire, login: str) -> int:
    return wire.ask("GET", "/v2/org/app/manifests/v1", login).status


def ask_token(wire: Wire, login: str, **more: str) -> Response:
    query = {"service": "cargohold", "scope": "repository:org/app:pull", **more}
    return wire.ask("GET", f"/auth/token?{urlencode(query)}", login)


def refresh(wire: Wire, token: str) -> Response:
    form = {"grant_type": "refresh_token", "refresh_token": token, "service": "cargohold"}
    form["scope"] = "repository:org/app:pull"
    kind = "Content-Type: application/x-www-form-urlencoded"
    return wire.ask("POST", "/auth/token", kind, body=urlencode(form).encode())


def test_next_request(server: Server) -> None:
    """After the command has returned the next request on each connection is refused, whatever it logs in by."""
    with connections(server) as wires:
        secret, other = create(server.storage, "ci"), create(server.storage, "deploy", "pull")
        first = wires[0]
        kind = "Content-Type: application/vnd.oci.image.index.v1+json"
        pushed = first.ask("PUT", "/v2/org/app/manifests/v1", basic(secret), kind, body=MANIFEST)
        assert pushed.status == 201
        granted = json.loads(ask_token(first, basic(secret), offline_token="true").body)
        token, refresh_token = granted["token"], granted["refresh_token"]
        assert refresh(first, refresh_token).status == 200
        logins = [basic(secret), bearer(token)]
        for wire in wires:
            assert [pull(wire, login) for login in (*logins, basic(other))] == [200, 200, 200]
        revoke(server.storage, "ci")
        for number, wire in enumerate(wires):
            # The very next request is by the secret on every other connection, and by the token on the rest.
            assert [pull(wire, logins[number % 2]), pull(wire, logins[1 - number % 2])] == [401, 401]
            assert pull(wire, basic(other)) == 200
            assert refresh(wire, refresh_token).status in {400, 401}
            assert ask_token(wire, basic(secret)).status == 401
        new = create(server.storage, "ci")
        for wire in wires:
            assert [pull(wire, login) for login in (basic(new), *logins)] == [200, 401, 401]
            assert refresh(wire, refresh_token).status in {400, 401}
    for each in (secret, other, new, token, refresh_token):
        assert each not in server.log
        kept = (file.read_bytes() for file in server.storage.rglob("*") if file.is_file())
        assert not any(each.encode() in content for content in kept)


def late_answers(wires: list[Wire], logins: list[str], revoked: threading.Event) -> list[list[int]]:
    """Ask on and on until after the revocation; what was answered other than 401 to requests that began after it."""
    late, ended = [], False
    while not ended:
        ended = revoked.is_set()
        for wire in wires:
            begun_after = revoked.is_set()
            statuses = [pull(wire, login) for login in logins]
            if begun_after and statuses != [401, 401]:
                late.append(statuses)
    return late


def test_expired(server: Server) -> None:
    """With a robot all that it was given ends, on the connections that have used it as on the others."""
    words = ["brief", "--repository", "org/**", "--expires", "6s", "--storage-path", str(server.storage)]
    made = run(SCRIPT, "token", "create", *words)
    assert made.returncode == 0, made.stderr
    secret = made.stdout.strip()
    with connections(server) as wires:
        granted = json.loads(ask_token(wires[0], basic(secret), offline_token="true").body)
        renewed = json.loads(refresh(wires[0], granted["refresh_token"]).body)
        assert 0 < renewed["expires_in"] <= granted["expires_in"] <= 6
        logins = [basic(secret), bearer(granted["token"]), bearer(renewed["token"])]
        for wire in wires[::2]:
            assert [pull(wire, login) for login in logins] == [404] * 3
        until(lambda: pull(wires[0], logins[0]) == 401)
        for wire in wires:
            assert [pull(wire, login) for login in logins] == [401] * 3
            assert refresh(wire, granted["refresh_token"]).status == 401


def test_under_load(server: Server) -> None:
    """Whatever is under way at a revocation, no request that begins after it is let through."""
    with connections(server) as wires, ThreadPoolExecutor(4) as pool:
        for number in range(5):
            secret = create(server.storage, f"ci{number}")
            token = json.loads(ask_token(wires[0], basic(secret)).body)["token"]
            logins, revoked = [basic(secret), bearer(token)], threading.Event()
            asking = [pool.submit(late_answers, wires[part::4], logins, revoked) for part in range(4)]
            try:
                revoke(server.storage, f"ci{number}")
            finally:
                revoked.set()
            assert [each.result(60) for each in asking] == [[]] * 4


def test_wrong_secrets(server: Server) -> None:
    """A secret that is not quite right is refused as any wrong password is, with the same challenge and body."""
    secret = create(server.storage, "ci")
    with Wire(server.url) as wire:
        wrong = [secret[:-1], f"{secret}x", f"chd_{'A' * 43}", "password", ""]
        answers = [wire.ask("GET", "/v2/", basic(each)) for each in wrong]
        assert {answer.status for answer in answers} == {401}
        assert len({(answer["www-authenticate"], answer.body) for answer in answers}) == 1
        empty = "Authorization: Basic " + base64.b64encode(f":{secret}".encode()).decode()
        assert wire.ask("GET", "/v2/", empty).status == 401
        assert wire.ask("GET", "/v2/", basic(secret)).status == 200


def test_permissions(server: Server) -> None:
    """A robot may do what it was made for, in the repositories that it was made for, and nothing else."""
    allowed = ["pull", "push", "pull,push", "delete", "catalog", "pull,catalog"]
    logins = {words: basic(create(server.storage, words.replace(",", "-"), words)) for words in allowed}
    kind = "Content-Type: application/vnd.oci.image.index.v1+json"
    with Wire(server.url) as wire:

        def statuses(method: str, target: str, body: bytes = b"") -> list[int]:
            return [wire.ask(method, target, login, kind, body=body).status for login in logins.values()]

        assert statuses("PUT", "/v2/org/app/manifests/v1", MANIFEST) == [403, 201, 201, 403, 403, 403]
        assert statuses("GET", "/v2/org/app/manifests/v1") == [200, 403, 200, 403, 403, 200]
        assert statuses("DELETE", f"/v2/org/app/manifests/sha256:{'a' * 64}") == [
            403,
            403,
            403,
            404,
            403,
            403,
        ]
        assert statuses("GET", "/v2/_catalog") == [403, 403, 403, 403, 200, 200]
        for target in ("/v2/other/app/tags/list", "/v2/organ/app/tags/list"):
            assert statuses("GET", target) == [403] * 6
        listed = [json.loads(wire.ask("GET", "/v2/_catalog", logins[words]).body) for words in allowed[4:]]
        assert listed == [{"repositories": []}, {"repositories": ["org/app"]}]


def test_database_is_lost(server: Server) -> None:
    """Without the database, robots are gone and the registry goes on; new robots work at once, without a restart."""
    with connections(server) as wires:
        old = create(server.storage, "ci")
        assert {pull(wire, basic(old)) for wire in wires} == {404}
        for file in (server.storage / "cargohold").glob("state.db*"):
            file.unlink()
        new = create(server.storage, "ci")
        assert {pull(wire, basic(new)) for wire in wires} == {404}
        assert {pull(wire, basic(old)) for wire in wires} == {401}


def test_database_is_damaged(tmp_path: Path) -> None:
    """Where the database cannot be read a robot's login is 503: neither let through, nor called wrong."""
    server = Server(tmp_path / "data", SETTINGS)
    try:
        secret = create(server.storage, "ci")
        database = server.storage / "cargohold/state.db"
        database.unlink()
        database.write_bytes(b"x" * 9000)
        with Wire(server.url) as wire:
            assert pull(wire, basic(secret)) == 503
            assert wire.ask("GET", "/v2/", basic("password")).status == 401
            assert wire.ask("GET", "/v2/").status == 401
    finally:
        server.stop()
    assert "state.db is damaged" in server.log
    assert secret not in server.log


def test_damaged_from_the_start(tmp_path: Path) -> None:
    """A server does not start on a damaged database, and says what to do."""
    folder = tmp_path / "data/cargohold"
    folder.mkdir(parents=True)
    (folder / "state.db").write_bytes(b"x" * 9000)
    said = r"cannot serve .+: .+/state\.db is damaged \(.+\): put a copy of it back, or stop .+ made anew\n$"
    with pytest.raises(AssertionError, match=said) as caught:
        Server(tmp_path / "data", SETTINGS)
    assert "Traceback" not in str(caught.value)


def test_read_only_disk(start: Start, tmp_path: Path) -> None:
    """From a place that cannot be written to robots log in as well, and those that are revoked elsewhere do not."""
    folder = tmp_path / "data"
    first = start(SETTINGS, storage=folder)
    secret, other = create(folder, "ci"), create(folder, "deploy")
    first.stop()
    with read_only_view(folder, tmp_path / "view") as view:
        server = start({**SETTINGS, "read_only": True}, storage=view)
        with connections(server) as wires:
            for wire in wires:
                assert [pull(wire, basic(secret)), pull(wire, basic(other))] == [404, 404]
            token = json.loads(ask_token(wires[0], basic(secret)).body)["token"]
            assert {pull(wire, bearer(token)) for wire in wires} == {404}
            revoke(folder, "ci")
            for wire in wires:
                assert [pull(wire, bearer(token)), pull(wire, basic(secret))] == [401, 401]
                assert pull(wire, basic(other)) == 404
        server.stop()
