"""The token service: what `GET` gives, and to whom; and the keys."""

from __future__ import annotations

import base64
import calendar
import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from cargohold.types.names import RepositoryName
from cargohold.types.operations import Permission
from tests.routes.token_service import (
    APP,
    EXCHANGE,
    ID_TOKEN,
    TokenService,
    basic,
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


def test_get(service: TokenService) -> None:
    """`GET` with a login gives a token in both fields, its life, when it began, and what it is for."""
    before = int(time.time())
    reply = service.get(
        "repository:org/app:pull,push,delete", password="right", service="hold", account="ann"
    )
    identity = service.identity(reply)
    assert identity.name == "ann"
    assert [each for each in Permission if identity.may(each, APP)] == [
        Permission.PULL,
        Permission.PUSH,
        Permission.ENTER,
        Permission.METRICS,
    ]
    assert reply["cache-control"] == "no-store"
    body: dict[str, Any] = reply.json
    issued_at = calendar.timegm(time.strptime(body["issued_at"], "%Y-%m-%dT%H:%M:%SZ"))
    assert before <= issued_at <= time.time()
    assert body.keys() == {"token", "access_token", "expires_in", "issued_at", "scope"}
    assert (body["expires_in"], body["scope"]) == (300, "repository:org/app:pull,push")


@pytest.mark.parametrize(
    "scopes",
    [
        ["repository:org/app:pull", "repository:public:pull", "registry:catalog:*"],
        ["repository:org/app:pull repository:public:pull registry:catalog:*"],
    ],
)
def test_several_scopes(service: TokenService, scopes: list[str]) -> None:
    """Scopes may be several parameters, as of docker, or one with spaces, as of containerd."""
    assert service.get(*scopes, password="chd_robot").json["scope"] == (
        "repository:org/app:pull repository:public:pull"
    )


def test_login_alone(service: TokenService) -> None:
    """Without a scope, as a login asks, there is a token that lets its bearer in."""
    reply = service.get(password="right")
    identity = service.identity(reply)
    assert reply.json["scope"] == ""
    assert identity.may(Permission.ENTER)
    assert not identity.may(Permission.PULL, APP)


def test_anonymous(service: TokenService) -> None:
    """Without a login there is a token for what anybody may do."""
    reply = service.get("repository:public:pull,push", "repository:org/app:pull", offline_token="true")
    assert reply.json["scope"] == "repository:public:pull"
    identity = service.identity(reply)
    assert (identity.name, identity.may(Permission.PULL, RepositoryName("public"))) == ("", True)
    assert "refresh_token" not in reply.json


def test_nothing_for_anonymous(tmp_path: Path) -> None:
    """Where nobody may do anything without a login, there is no token without one either."""
    service = TokenService(tmp_path, anonymous=None)
    assert "log in first" in refused(service.get("repository:public:pull"))
    assert service.get("repository:org/app:pull", password="right").status == 200


@pytest.mark.parametrize(
    "headers",
    [
        basic("ann", "wrong"),
        basic("ann", ""),
        basic("", "right"),
        {"authorization": ""},
        {"authorization": "Basic"},
        {"authorization": "Basic !"},
        {"authorization": "Basic YW5u"},
        {"authorization": "Bearer a.b.c"},
        {"authorization": "Digest username=ann"},
        {"authorization": "Basic é"},
        [("authorization", "Basic YW5uOnJpZ2h0"), ("authorization", "Basic YW5uOnJpZ2h0")],
        [("authorization", "Basic é"), ("authorization", "Basic YW5uOnJpZ2h0")],
    ],
)
def test_bad_login(service: TokenService, headers: Any) -> None:
    """A login that does not hold, or cannot be read, gives no token, not even that which there is without one."""
    assert refused(service.ask("GET", "/auth/token?scope=repository:public:pull", headers))


def test_own_token_is_no_login(service: TokenService) -> None:
    """A token cannot be used to get another, which would live longer."""
    token = service.get(password="right").json["token"]
    assert refused(service.ask("GET", "/auth/token", {"authorization": f"Bearer {token}"}))


def test_existence_is_not_told(service: TokenService) -> None:
    """For what may not be done, and for what cannot be, the answer is the same: a token for nothing."""
    replies = [
        service.get(scope, password="chd_robot")
        for scope in ("repository:secret:pull", "repository:absent:pull", "repository:NO:pull", "x", "")
    ]
    assert [(reply.status, reply.json["scope"]) for reply in replies] == [(200, "")] * 5
    assert len({len(reply.body) for reply in replies}) == 1


def test_refresh_token_only_when_asked(service: TokenService) -> None:
    """Without `offline_token=true` there is none."""
    for query in ({}, {"offline_token": "false"}, {"offline_token": ""}):
        assert "refresh_token" not in service.get(password="right", **query).json


def test_password_of_any_letters(service: TokenService) -> None:
    """A password may hold whatever can be written, in a header and in a form."""
    password = "pässwörd: ✓+&=%"
    assert service.get(password=password).status == 200
    assert service.post("password", username="ann", password=password).status == 200


def test_wrong_service(service: TokenService) -> None:
    """A token for another service is not given; one need not name ours."""
    assert "token service of hold" in not_understood(service.get(password="right", service="other"))[1]
    assert service.get(password="right", service="").status == 200


def test_id_token_as_a_password(service: TokenService) -> None:
    """An id token given as a password gives a refresh token for as long as a job may last, with no more after a use."""
    for reply in (
        service.get(password=ID_TOKEN, offline_token="true"),
        service.post("password", username="ci", password=ID_TOKEN, access_type="offline"),
    ):
        assert 0 < reply.json["expires_in"] <= 100
        for scope in ("push", "pull"):
            again = service.post(
                "refresh_token",
                refresh_token=reply.json["refresh_token"],
                scope=f"repository:org/app:{scope}",
            )
            assert again.json["scope"] == f"repository:org/app:{scope}"
            assert again.json["expires_in"] == 300


def test_failed_logins_count(service: TokenService) -> None:
    """Failed logins are counted wherever they are tried, and then refused; the failures of one id token are its own."""
    form = {"subject_token_type": "urn:ietf:params:oauth:token-type:jwt"}
    service.attempts.left = 4
    refused(service.get(password="wrong"))
    refused(service.post("password", username="bob", password="wrong"))
    refused(service.post(EXCHANGE, subject_token="a.b.c", **form))
    refused(service.post(EXCHANGE, subject_token="a.b.d", **form))
    limited = service.get(password="right")
    assert limited.error == (429, "TOOMANYREQUESTS")
    assert limited["retry-after"] == "60"
    names = service.attempts.names
    assert names[:2] == ["ann", "bob"]
    assert len(set(names)) == 4


def test_no_keys(service: TokenService, tmp_path: Path) -> None:
    """Without a key there are no tokens for now: 503, with when to try again."""
    for path in (tmp_path / "cargohold" / "keys").glob("*.jwk"):
        path.unlink()
    service.keys._look()
    reply = service.get(password="right")
    assert reply.error == (503, "UNAVAILABLE")
    assert "retry-after" in reply
    assert service.ask("GET", "/auth/keys").json == {"keys": []}


def test_keys(service: TokenService) -> None:
    """`/auth/keys` is the JWK set (RFC 7517), which may be kept for less than the minute for which a new key waits."""
    reply = service.ask("GET", "/auth/keys")
    assert reply.status == 200
    assert reply["content-type"] == "application/jwk-set+json"
    assert reply["cache-control"] == "public, max-age=30"
    token = service.get(password="right").json["token"]
    header = json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))
    assert [key["kid"] for key in reply.json["keys"]] == [header["kid"]]
    assert all("d" not in key for key in reply.json["keys"])


def test_no_secret_in_an_answer(service: TokenService, caplog: pytest.LogCaptureFixture) -> None:
    """No answer and no log repeats a password, or a token that was refused."""
    form = {"subject_token_type": "urn:ietf:params:oauth:token-type:jwt"}
    for reply in (
        service.get(password="hunter2"),
        service.ask("GET", "/auth/token", {"authorization": "Bearer hunter2.hunter2.hunter2"}),
        service.post("password", username="ann", password="hunter2"),
        service.post("refresh_token", refresh_token="hunter2"),
        service.post(EXCHANGE, subject_token="hunter2.hunter2.hunter2", **form),
        service.post("hunter2", password="hunter2"),
    ):
        assert reply.status in (400, 401)
        assert "hunter2" not in f"{reply.body!r}{reply.headers}"
    assert "hunter2" not in caplog.text


def test_nowhere_to_keep_a_refresh_token(
    service: TokenService, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the storage takes no refresh token there is a token all the same, and the log says why."""
    (tmp_path / "cargohold" / "state.db").mkdir()
    reply = service.get("repository:org/app:pull", password="right", offline_token="true")
    assert service.identity(reply).may(Permission.PULL, APP)
    assert "refresh_token" not in reply.json
    assert "no refresh token can be made" in caplog.text
