"""The token service: what `POST` gives for passwords, refresh tokens and id tokens, and which forms it takes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from cargohold.auth.identity import Scope
from cargohold.auth.protocols import Proved, Subject
from cargohold.routes.token import LONGEST_FORM
from cargohold.types.scopes import parse_scopes
from tests.routes.caller import Pieces
from tests.routes.token_service import (
    EXCHANGE,
    FORM,
    ID_TOKEN,
    TokenService,
    not_understood,
    refused,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def service(tmp_path: Path) -> Iterator[TokenService]:
    service = TokenService(tmp_path)
    yield service
    service.close()


@pytest.mark.parametrize("offline", ["true", "1"])
def test_refresh_token(service: TokenService, offline: str) -> None:
    """`offline_token` gives a refresh token, which is good for tokens with other scopes, again and again."""
    refresh = service.get(password="right", offline_token=offline).json["refresh_token"]
    for scope in ("repository:org/app:pull", "repository:org/app:push", "registry:catalog:*"):
        reply = service.post(
            "refresh_token", refresh_token=refresh, service="hold", client_id="docker", scope=scope
        )
        assert reply.json["scope"] == scope
        assert service.identity(reply).name == "ann"
        assert "refresh_token" not in reply.json


def test_same_refresh_token(service: TokenService) -> None:
    """Who shows a refresh token and asks for one is given the same again."""
    refresh = service.post("password", username="ann", password="right", access_type="offline").json[
        "refresh_token"
    ]
    reply = service.post("refresh_token", refresh_token=refresh, access_type="offline")
    assert reply.json["refresh_token"] == refresh


@pytest.mark.parametrize(("password", "kind"), [("right", "user"), ("chd_robot", "robot")])
def test_refresh_token_dies_with_its_subject(service: TokenService, password: str, kind: str) -> None:
    """When the password has changed, or the robot was revoked, its refresh token gives nothing any more."""
    refresh = service.get(password=password, offline_token="true").json["refresh_token"]
    assert service.post("refresh_token", refresh_token=refresh).status == 200
    service.known.remove(kind)
    refused(service.post("refresh_token", refresh_token=refresh))


def test_never_beyond_what_it_was_given_for(tmp_path: Path) -> None:
    """What a refresh token gives ends with the robot that has it, and with a job's refresh token itself."""
    service = TokenService(tmp_path, job_lifetime=100.0)
    robot = service.get(password="chd_robot", offline_token="true").json["refresh_token"]
    job = service.get(password=ID_TOKEN, offline_token="true").json["refresh_token"]
    service.known.ends["robot"] = time.time() + 100
    for refresh in (robot, job):
        assert 0 < service.post("refresh_token", refresh_token=refresh).json["expires_in"] <= 100
    service.close()


@pytest.mark.parametrize("token", ["x", "chrt_", "chrt_" + "A" * 43, "right", "🛳"])
def test_unknown_refresh_token(service: TokenService, token: str) -> None:
    """What is no refresh token of ours is refused, as a password would be."""
    assert "log in again" in refused(service.post("refresh_token", refresh_token=token))


def test_refresh_token_is_no_password(service: TokenService) -> None:
    """A refresh token is good at the token service alone, and as what it is."""
    refresh = service.get(password="right", offline_token="true").json["refresh_token"]
    refused(service.get(password=refresh))
    refused(service.post("password", username="ann", password=refresh))
    refused(service.post("refresh_token", refresh_token=service.get(password="right").json["token"]))


def test_no_refresh_tokens(tmp_path: Path) -> None:
    """Where none are kept, who asks for one gets a token without it, and none is accepted."""
    service = TokenService(tmp_path, refreshes=False)
    assert "refresh_token" not in service.get(password="right", offline_token="true").json
    refused(service.post("refresh_token", refresh_token="chrt_" + "A" * 43))


def test_password_grant(service: TokenService) -> None:
    """`POST` with a user and password gives what `GET` gives, and a refresh token to who will be offline."""
    form = {"username": "ann", "password": "right", "service": "hold", "client_id": "containerd-client"}
    reply = service.post("password", scope="repository:org/app:pull,push repository:public:pull", **form)
    assert reply.json["scope"] == "repository:org/app:pull,push"
    assert service.identity(reply).name == "ann"
    assert "refresh_token" not in reply.json
    assert reply["cache-control"] == "no-store"
    offline = service.post("password", access_type="offline", **form)
    assert offline.json["refresh_token"].startswith("chrt_")


@pytest.mark.parametrize("form", [{"password": "wrong"}, {"password": "right", "username": "a:b"}])
def test_bad_password_grant(service: TokenService, form: dict[str, str]) -> None:
    """A wrong password, or a name that none can be, is refused with a challenge."""
    refused(service.post("password", **{"username": "ann"} | form))


@pytest.mark.parametrize(
    ("grant", "form", "error", "words"),
    [
        (None, {}, "unsupported_grant_type", "grant_type must be password"),
        ("authorization_code", {}, "unsupported_grant_type", "refresh_token"),
        ("client_credentials", {}, "unsupported_grant_type", EXCHANGE),
        ("password", {"username": "ann"}, "invalid_request", "password is missing"),
        ("password", {"password": "right"}, "invalid_request", "username is missing"),
        ("password", {"username": "ann", "password": ""}, "invalid_request", "password is missing"),
        ("refresh_token", {}, "invalid_request", "refresh_token is missing"),
        (EXCHANGE, {}, "invalid_request", "subject_token is missing"),
        (EXCHANGE, {"subject_token": ID_TOKEN}, "invalid_request", "of the type"),
        (EXCHANGE, {"subject_token": ID_TOKEN, "subject_token_type": "x"}, "invalid_request", "of the type"),
        (
            "password",
            {"username": "ann", "password": "right", "service": "other"},
            "invalid_request",
            "of hold",
        ),
    ],
)
def test_request_that_is_none(
    service: TokenService, grant: str | None, form: dict[str, str], error: str, words: str
) -> None:
    """A request that cannot be understood says what is to be changed, with the code that OAuth2 has for it."""
    code, message = not_understood(service.post(grant, **form))
    assert code == error
    assert words in message


@pytest.mark.parametrize(
    "content_type", [None, "", "application/json", "text/plain", "multipart/form-data", "é"]
)
def test_other_content(service: TokenService, content_type: str | None) -> None:
    """A body must be a form."""
    headers = {} if content_type is None else {"content-type": content_type}
    reply = service.ask("POST", "/auth/token", headers, b"grant_type=password&username=ann&password=right")
    assert not_understood(reply) == (
        "invalid_request",
        "send a form: Content-Type: application/x-www-form-urlencoded",
    )


@pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded; charset=utf-8", "Application/X-WWW-Form-Urlencoded"]
)
def test_content_type_in_full(service: TokenService, content_type: str) -> None:
    """The type may be written in any case, and with its character set."""
    body = b"grant_type=password&username=ann&password=right"
    assert service.ask("POST", "/auth/token", {"content-type": content_type}, body).status == 200


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"grant_type=password&username=ann&password=%ff", "what is percent-encoded must be UTF-8"),
        ("grant_type=password&username=ann&password=é".encode(), "must be percent-encoded"),
        (b"\xff\xfe", "must be percent-encoded"),
        (b"grant_type=password&" + b"scope=x&" * 300, "send no more than 200 parameters"),
    ],
)
def test_form_that_is_none(service: TokenService, body: bytes, words: str) -> None:
    """A form is ASCII, of UTF-8 that is percent-encoded, with a bounded number of fields; each fault has its words."""
    code, message = not_understood(service.ask("POST", "/auth/token", FORM, body))
    assert (code, message.endswith(words)) == ("invalid_request", True)
    query = body.decode("latin-1")
    if query.isascii():
        assert not_understood(service.ask("GET", f"/auth/token?{query}")) == (code, message)


def test_large_form(service: TokenService) -> None:
    """A form has a bounded size, whether or not that is announced."""
    form = b"grant_type=password&username=ann&password=right&more="
    fits = form + b"a" * (LONGEST_FORM - len(form))
    assert service.ask("POST", "/auth/token", FORM, fits).status == 200
    for body in (fits + b"a", Pieces([fits, b"a"])):
        assert service.ask("POST", "/auth/token", FORM, body).error == (413, "SIZE_INVALID")


@pytest.mark.parametrize("kind", ["id_token", "jwt"])
def test_exchange(service: TokenService, kind: str) -> None:
    """An id token is exchanged (RFC 8693) for a token that ends with it, and for one that is good for others."""
    reply = service.post(
        EXCHANGE,
        subject_token=ID_TOKEN,
        subject_token_type=f"urn:ietf:params:oauth:token-type:{kind}",
        scope="repository:org/app:push",
        access_type="offline",
    )
    assert service.identity(reply).name == "repo:org/app"
    body = reply.json
    assert body["issued_token_type"] == "urn:ietf:params:oauth:token-type:access_token"
    assert (body["token_type"], body["scope"]) == ("Bearer", "repository:org/app:push")
    assert 0 < body["expires_in"] <= 100
    assert service.post("refresh_token", refresh_token=body["refresh_token"]).json["expires_in"] == 300


@pytest.mark.parametrize("token", ["wrong.id.token", "a.right.b"])
def test_bad_exchange(service: TokenService, token: str) -> None:
    """What is no id token that we trust is refused; so is a password that looks like one."""
    service.known.proofs["a.right.b"] = service.known.proofs["right"]
    form = {"subject_token": token, "subject_token_type": "urn:ietf:params:oauth:token-type:jwt"}
    refused(service.post(EXCHANGE, **form))


def test_too_many_scopes(service: TokenService) -> None:
    """Who asks for more than a token can hold is told to ask for less."""
    scope = " ".join(f"repository:{'a' * 200}{number}:pull" for number in range(100))
    service.known.proofs["right"] = Proved(Subject("user", "ann", "ann", "s"), Scope(parse_scopes([scope])))
    reply = service.post("password", username="ann", password="right", scope=scope)
    assert reply.error == (400, "UNSUPPORTED")
    assert "ask for fewer" in reply.errors[0]["message"]
