"""No secret comes into the log, whichever way a client sends it, whatever becomes of the request, in both forms."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import bcrypt
import pytest

from tests.auth.idp import Issuer
from tests.e2e.server import Server
from tests.e2e.test_logs import INDEX, damaged
from tests.e2e.test_robot_revocation import create
from tests.http.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.http.wire import Response

USER, PASSWORD, WRONG = "ann", "r1ght-passw0rd", "wr0ng-passw0rd"
IN_QUERY, IN_COOKIE, AS_NAME, BARE = "queryS3cret", "cookieS3cret", "typedAsName5", "bareS3cret"
AUDIENCE = "registry.example.com"
WORTH = 8  # letters: fewer may stand in any log
FORM = "Content-Type: application/x-www-form-urlencoded"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"
SCOPE = "repository:org/app:pull,push"


@pytest.fixture
def idp() -> Iterator[Issuer]:
    with Issuer() as issuer:
        yield issuer


def encoded(name: str, password: str) -> str:
    return base64.b64encode(f"{name}:{password}".encode()).decode()


def basic(name: str, password: str) -> str:
    return f"Authorization: Basic {encoded(name, password)}"


def leaked(secrets: set[str], log: str) -> list[str]:
    """Those of which the log holds any part that would be worth something: also of a field that was cut."""
    ends = {
        secret: {secret, secret[-24:], *(part for part in secret.split(".")[1:] if len(part) >= WORTH)}
        for secret in secrets
    }
    return [secret for secret, parts in ends.items() if any(part in log for part in parts)]


class Asker:
    """Asks a server, and keeps the secrets that it sent or was given."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.secrets: set[str] = set()
        self.statuses: set[int] = set()

    def ask(self, method: str, target: str, *headers: str, body: bytes = b"") -> Response:
        answer = self.wire.ask(method, target, *headers, body=body)
        self.statuses.add(answer.status)
        return answer

    def login(self, name: str, password: str) -> dict[str, Any]:
        """Both ways of Basic: at the registry itself, and for a token with its refresh token."""
        self.secrets |= {password, encoded(name, password)}
        self.ask("GET", "/v2/org/app/manifests/v1", basic(name, password))
        query = urlencode({"scope": SCOPE, "offline_token": "true", "account": name})
        answer = self.ask("GET", f"/auth/token?{query}", basic(name, password))
        body: dict[str, Any] = json.loads(answer.body)
        self.secrets |= {body[each] for each in ("token", "refresh_token") if each in body}
        return body

    def bearer(self, token: str) -> None:
        self.secrets.add(token)
        for target in ("/v2/", "/v2/org/app/manifests/v1", "/v2/org/app/tags/list"):
            self.ask("GET", target, f"Authorization: Bearer {token}")

    def form(self, **fields: str) -> dict[str, Any]:
        answer = self.ask("POST", "/auth/token", FORM, body=urlencode({"scope": SCOPE, **fields}).encode())
        body: dict[str, Any] = json.loads(answer.body)
        self.secrets |= {body[each] for each in ("token", "refresh_token") if each in body}
        return body


def by_password(asker: Asker, robot: str) -> None:
    """What users and robots send: right, wrong, cut off, in the wrong field, and by the other grants."""
    given = asker.login(USER, PASSWORD)
    asker.bearer(given["token"])
    asker.bearer(given["token"][:-6])
    asker.form(grant_type="refresh_token", refresh_token=given["refresh_token"])
    asker.form(grant_type="refresh_token", refresh_token=given["refresh_token"][:-4] + "AAAA")
    asker.form(grant_type="password", username=USER, password=PASSWORD, access_type="offline")
    asker.form(grant_type="password", username=USER, password=WRONG)
    asker.bearer(asker.login("ci", robot)["token"])
    asker.bearer(robot)
    asker.login(USER, WRONG)
    asker.login("ci", robot[:-3] + "abc")
    asker.login(AS_NAME, WRONG)
    asker.secrets |= {AS_NAME, given["token"][:-6], given["refresh_token"][:-4], robot[:-3]}
    asker.form(grant_type="password", username=AS_NAME, password=WRONG)


def by_id_token(asker: Asker, idp: Issuer) -> None:
    """Id tokens: as a password, exchanged, as a bearer token, and such as are refused."""
    for audience in (AUDIENCE, "other"):
        token = idp.token(audience, sub="job", repository="org/app")
        asker.secrets.add(token)
        asker.login("ci", token)
        asker.form(grant_type=EXCHANGE, subject_token=token, subject_token_type=ID_TOKEN)
        asker.bearer(token)


def in_odd_places(asker: Asker) -> None:
    """Where no secret belongs: queries, other headers, broken headers, on answers of every kind."""
    asker.secrets |= {IN_QUERY, IN_COOKIE, BARE}
    for target in (
        "/v2/",
        "/v2/org/app/tags/list",
        "/nowhere",
        "/health",
        "/metrics",
        "/v2/org/app/blobs/uploads/",
    ):
        for query in (
            f"password={IN_QUERY}",
            f"access_token={IN_QUERY}&n=1",
            f"n=1;token={IN_QUERY}",
            IN_QUERY,
        ):
            for method in ("GET", "POST", "BREW"):
                asker.ask(method, f"{target}?{query}", basic(USER, PASSWORD), "Content-Length: 0")
    for header in (
        f"Authorization: Basic {BARE}",
        f"Authorization: {BARE}",
        f"Authorization: Bearer {BARE} {BARE}",
        f"Authorization: Digest username={AS_NAME}, response={BARE}",
        f"Proxy-Authorization: Basic {encoded(USER, PASSWORD)}",
        f"Cookie: session={IN_COOKIE}",
        f"X-Request-ID: Bearer {BARE}",
        f"X-Api-Key: {BARE}",
    ):
        asker.ask("GET", "/v2/org/app/manifests/v1", header)
        asker.ask("GET", "/auth/token", header)


@pytest.mark.parametrize("form", ["json", "human"])
def test_no_secret_is_logged(tmp_path: Path, idp: Issuer, form: str) -> None:
    """At the level that tells most, with errors of the client's and of ours, and their tracebacks, there is none."""
    storage, users = tmp_path / "data", tmp_path / "htpasswd"
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    users.write_text(f"{USER}:{hashed}\n")
    damaged(storage, ["org/app"])
    rules = [{"claims": {"repository": "org/app"}, "repository": "org/**", "actions": ["pull", "push"]}]
    server = Server(
        storage,
        {
            "auth.htpasswd": users,
            "auth.challenge": "bearer",
            "auth.oidc": json.dumps([{"issuer": idp.url, "audience": AUDIENCE, "rules": rules}]),
            "limits.failed_logins": "",
            "log.level": "debug",
            "log.format": form,
        },
    )
    robot = create(storage, "ci")
    with Wire(server.url) as wire:
        asker = Asker(wire)
        by_password(asker, robot)
        by_id_token(asker, idp)
        in_odd_places(asker)
        asker.ask(
            "PUT",
            f"/v2/org/app/manifests/v1?token={IN_QUERY}",
            basic(USER, PASSWORD),
            f"Content-Type: {INDEX}",
            body=b"{",
        )
    assert server.stop() == 0
    assert {200, 400, 401, 404, 405, 503} <= asker.statuses
    assert "Traceback" in server.log
    asker.secrets |= {robot, hashed, PASSWORD, WRONG}
    assert len(asker.secrets) > 20
    assert leaked(asker.secrets, server.log) == []
    assert ' "user":"ann"' in server.log.replace(",", " ") or f" {USER} GET /v2/" in server.log
    assert server.log.count("\n") > 100


def test_no_foreign_token_is_logged(tmp_path: Path, idp: Issuer) -> None:
    """The same for the tokens of another token service, those that hold and those that do not."""
    server = Server(
        tmp_path / "data",
        {
            "auth.bearer.realm": f"{idp.url}/token",
            "auth.bearer.service": AUDIENCE,
            "auth.bearer.issuer": idp.url,
            "auth.bearer.jwks_url": idp.keys_url,
            "log.level": "debug",
        },
    )
    access = [{"type": "repository", "name": "org/app", "actions": ["pull"]}]
    with Wire(server.url) as wire:
        asker = Asker(wire)
        for audience in (AUDIENCE, "other"):
            asker.bearer(idp.token(audience, access=access))
    assert server.stop() == 0
    assert asker.statuses >= {200, 401}
    assert leaked(asker.secrets, server.log) == []
