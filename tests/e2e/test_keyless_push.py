"""CI jobs push with what their own system says of them: an issuer over HTTP, the real server, and real clients."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from tests.auth.idp import Issuer, Reply, SigningKey
from tests.e2e.clients.absence import require
from tests.e2e.clients.images import make_image
from tests.e2e.clients.program import Client
from tests.e2e.pushing import EMPTY, MANIFEST, digest_of, make_manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.e2e.conftest import Start
    from tests.e2e.server import Server

AUDIENCE = "registry.example.com"
JOB = {"sub": "repo:Org/App:ref:refs/heads/main", "repository": "Org/App", "ref": "refs/heads/main"}
RULES = [
    {
        "claims": {"repository": "Org/*", "ref": "refs/heads/main"},
        "repository": "{repository}",
        "actions": ["pull", "push"],
    },
    {"claims": {"repository": "Org/*"}, "repository": "org/**", "actions": ["pull"]},
]
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"
APP, OTHER = "org/app", "org/other"


@pytest.fixture
def idp() -> Iterator[Issuer]:
    with Issuer() as issuer:
        yield issuer


@pytest.fixture
def trusting(start: Start, idp: Issuer) -> Callable[..., Server]:
    """Starts a server that trusts the issuer; more settings may be given."""

    def begin(**settings: object) -> Server:
        trust = [{"issuer": idp.url, "audience": AUDIENCE, "rules": RULES}]
        named = {name.replace("__", "."): value for name, value in settings.items()}
        return start({"auth.oidc": json.dumps(trust), "auth.challenge": "bearer", "workers": 2, **named})

    return begin


def asked(server: Server, method: str, path: str, **options: Any) -> httpx2.Response:
    return httpx2.request(method, server.url + path, timeout=30, **options)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def push(server: Server, repository: str, **login: Any) -> int:
    """Push a manifest and its config; the status of what was refused, or of the manifest."""
    upload = asked(
        server, "POST", f"/v2/{repository}/blobs/uploads/?digest={digest_of(EMPTY)}", content=EMPTY, **login
    )
    if upload.status_code != 201:
        return upload.status_code
    headers = {**login.pop("headers", {}), "Content-Type": MANIFEST}
    content = make_manifest("pushed by a job")
    return asked(
        server, "PUT", f"/v2/{repository}/manifests/v1", content=content, headers=headers, **login
    ).status_code


def exchanged(server: Server, token: str, scope: str, **changes: str) -> httpx2.Response:
    """What the token service answers to an exchange (RFC 8693)."""
    form = {
        "grant_type": EXCHANGE,
        "subject_token": token,
        "subject_token_type": ID_TOKEN,
        "service": "cargohold",
        "scope": scope,
    }
    return asked(server, "POST", "/auth/token", data=form | changes)


def test_id_token_as_password_by_the_token_flow(trusting: Callable[..., Server], idp: Issuer) -> None:
    """As docker does it: a challenge, a token for the id token, a push; other repositories stay closed."""
    server, id_token = trusting(), idp.token(AUDIENCE, **JOB)
    refused = asked(server, "POST", f"/v2/{APP}/blobs/uploads/")
    assert refused.status_code == 401
    challenge = refused.headers["www-authenticate"]
    assert challenge.startswith(f'Bearer realm="{server.url}/auth/token",service="cargohold"')
    query = {"service": "cargohold", "scope": f"repository:{APP}:pull,push", "offline_token": "true"}
    answer = asked(server, "GET", "/auth/token", params=query, auth=("ci", id_token))
    assert answer.status_code == 200, answer.text
    given = answer.json()
    headers = bearer(given["token"])
    assert push(server, APP, headers=headers) == 201
    assert asked(server, "GET", f"/v2/{APP}/manifests/v1", headers=headers).status_code == 200
    assert push(server, OTHER, headers=headers) == 401
    assert id_token not in server.log


def test_id_token_as_password_by_basic(trusting: Callable[..., Server], idp: Issuer) -> None:
    """Clients that send the password itself, asked for it or not, may do the same."""
    for settings in ({}, {"auth__challenge": "basic"}):
        server, login = trusting(**settings), ("ci", idp.token(AUDIENCE, **JOB))
        assert push(server, APP, auth=login) == 201
        assert asked(server, "GET", f"/v2/{APP}/tags/list", auth=login).json()["tags"] == ["v1"]
        assert push(server, OTHER, auth=login) == 403
        assert asked(server, "DELETE", f"/v2/{APP}/manifests/v1", auth=login).status_code == 403


def test_id_token_exchanged_for_a_registry_token(trusting: Callable[..., Server], idp: Issuer) -> None:
    """RFC 8693: one request without a name gives the token; it is for what the rules allow of what is asked."""
    server = trusting()
    scope = f"repository:{APP}:pull,push,delete repository:{OTHER}:pull,push"
    answer = exchanged(server, idp.token(AUDIENCE, **JOB), scope)
    assert answer.status_code == 200, answer.text
    given = answer.json()
    assert given["token_type"] == "Bearer"
    assert given["issued_token_type"] == "urn:ietf:params:oauth:token-type:access_token"
    assert given["scope"] == f"repository:{APP}:pull,push repository:{OTHER}:pull"
    assert "refresh_token" not in given
    assert push(server, APP, headers=bearer(given["access_token"])) == 201
    assert push(server, OTHER, headers=bearer(given["access_token"])) == 401


def test_what_a_job_may_do_follows_from_its_claims(trusting: Callable[..., Server], idp: Issuer) -> None:
    """A job of a branch may pull and not push; one of another organisation is nobody."""
    server = trusting()
    assert push(server, APP, auth=("ci", idp.token(AUDIENCE, **JOB))) == 201
    branch = ("ci", idp.token(AUDIENCE, **{**JOB, "ref": "refs/heads/feature"}))
    assert push(server, APP, auth=branch) == 403
    assert asked(server, "GET", f"/v2/{APP}/manifests/v1", auth=branch).status_code == 200
    for repository in ("Evil/App", "Org/../Org/App", "**", "Org/*/x"):
        stranger = ("ci", idp.token(AUDIENCE, **{**JOB, "repository": repository}))
        assert asked(server, "GET", f"/v2/{APP}/manifests/v1", auth=stranger).status_code == 401
    star = ("ci", idp.token(AUDIENCE, **{**JOB, "repository": "Org/*"}))
    assert push(server, APP, auth=star) == 403


def test_id_tokens_that_do_not_hold(trusting: Callable[..., Server], idp: Issuer) -> None:
    """Expired, for another audience, of another key, of another issuer: nothing is given for any, in the same words."""
    server, now = trusting(limits__failed_logins=""), int(time.time())
    good = idp.token(AUDIENCE, **JOB)
    with Issuer(SigningKey(number=1)) as evil:
        tokens = [
            idp.token("other", **JOB),
            idp.token(AUDIENCE, **JOB, exp=now - 60),
            idp.token(AUDIENCE, **JOB, nbf=now + 600),
            evil.token(AUDIENCE, **JOB),
            evil.token(AUDIENCE, **JOB, iss=idp.url),
            good[:-2],
            good + "A" * 2**14,
        ]
        refusals = set()
        for token in tokens:
            refused = exchanged(server, token, f"repository:{APP}:pull")
            assert refused.status_code == 401, token
            as_password = asked(server, "GET", "/auth/token", auth=("ci", token))
            refusals |= {refused.text, as_password.text}
            assert push(server, APP, auth=("ci", token)) == 401
            assert asked(server, "GET", "/v2/", headers=bearer(token)).status_code == 401
        assert len(refusals) == 1
        assert evil.asked == []
    assert exchanged(server, good, f"repository:{APP}:pull").status_code == 200
    assert asked(server, "GET", "/v2/", headers=bearer(good)).status_code == 401


def test_registry_token_ends_with_the_id_token(trusting: Callable[..., Server], idp: Issuer) -> None:
    """What was given for an id token lives no longer than it, give or take the difference of clocks."""
    server, now = trusting(auth__token__lifetime="1h"), int(time.time())
    scope = f"repository:{APP}:pull"
    brief = exchanged(server, idp.token(AUDIENCE, **JOB, exp=now + 60), scope).json()
    assert 0 < brief["expires_in"] <= 60 + 30
    own = exchanged(server, brief["access_token"], scope)
    assert own.status_code == 401


def test_keys_of_the_issuer_may_be_down_at_the_start_and_rotate(
    trusting: Callable[..., Server], idp: Issuer
) -> None:
    """The server starts without its issuer; all workers take up what it publishes later."""
    idp.replies[Issuer.DISCOVERY] = Reply(status=503)
    server = trusting()
    assert asked(server, "GET", "/v2/").status_code == 401
    assert idp.asked == []
    idp.replies.clear()
    idp.keys = [SigningKey("new", "ES256")]
    for _ in range(20):
        assert push(server, APP, auth=("ci", idp.token(AUDIENCE, **JOB))) == 201


def test_server_stops_while_it_waits_for_an_issuer(trusting: Callable[..., Server], idp: Issuer) -> None:
    """An issuer that does not answer holds up no stop, and leaves no complaint behind."""
    idp.replies[Issuer.DISCOVERY] = Reply(silent=True)
    server = trusting()
    with pytest.raises(httpx2.TimeoutException):
        httpx2.get(f"{server.url}/v2/", auth=("ci", idp.token(AUDIENCE, **JOB)), timeout=1)
    assert idp.asked
    assert server.stop() == 0
    assert "Task was destroyed" not in server.log


@pytest.mark.clients
def test_crane_and_oras_push_with_an_id_token(
    trusting: Callable[..., Server], idp: Issuer, tmp_path: Path
) -> None:
    """Real clients take the id token for a password, where Basic is asked for and where a token is."""
    image = make_image(tmp_path / "image", [{"file": b"content"}])
    (tmp_path / "notes.txt").write_text("notes")
    for number, challenge in enumerate(("bearer", "basic")):
        server = trusting(auth__challenge=challenge)
        home = tmp_path / challenge
        home.mkdir()
        token = idp.token(AUDIENCE, **JOB).encode()
        crane = Client(require("crane"), (), {"HOME": str(home)})
        crane("auth", "login", "--username=ci", "--password-stdin", server.host, given=token)
        crane("push", image.path, f"{server.host}/{APP}:v{number}")
        assert crane("digest", f"{server.host}/{APP}:v{number}") == image.digest
        crane.refused("push", image.path, f"{server.host}/{OTHER}:v1")
        oras = Client(require("oras"), (), {"HOME": str(home / "oras")})
        oras("login", "--plain-http", "--username=ci", "--password-stdin", server.host, given=token)
        notes = str(tmp_path / "notes.txt")
        oras("push", "--plain-http", "--disable-path-validation", f"{server.host}/{APP}:notes", notes)
        oras.refused(
            "push", "--plain-http", "--disable-path-validation", f"{server.host}/{OTHER}:notes", notes
        )
