"""`GET /metrics`: in which form, and for whom."""

from __future__ import annotations

import base64
import time
from typing import TYPE_CHECKING

import bcrypt
import pytest

from cargohold import __version__
from cargohold.config import load
from tests.auth.idp import SigningKey, signed
from tests.auth.tokens import AUDIENCE, ISSUER, claims
from tests.observe.reading import scraped
from tests.registry.documents import image
from tests.routes.caller import Registry

if TYPE_CHECKING:
    from pathlib import Path

PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
LOGIN = {"authorization": "Basic " + base64.b64encode(b"ann:secret").decode()}


def guarded(tmp_path: Path, access: str, **others: object) -> Registry:
    users = tmp_path / "users"
    users.write_text(f"ann:{bcrypt.hashpw(b'secret', bcrypt.gensalt(4)).decode()}\n")
    settings = {
        "auth.htpasswd": str(users),
        "storage.path": str(tmp_path / "data"),
        "metrics.access": access,
        **others,
    }
    return Registry(load(settings, {}))


@pytest.mark.parametrize(
    ("accept", "is_open"),
    [
        (None, False),
        ("*/*", False),
        ("text/plain", False),
        ("text/html,application/xhtml+xml,*/*;q=0.8", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text", True),
        (PROMETHEUS_2, True),
        (PROMETHEUS_3, True),
    ],
)
def test_the_form_that_is_asked_for(registry: Registry, accept: str | None, is_open: bool) -> None:
    """OpenMetrics for who names it, Prometheus' own text for everyone else; both say the same, and may not be kept."""
    registry.ask("GET", "/v2/")
    reply = registry.ask("GET", "/metrics", {} if accept is None else {"accept": accept})
    name = "application/openmetrics-text; version=1.0.0" if is_open else "text/plain; version=0.0.4"
    assert (reply.status, reply["content-type"]) == (200, f"{name}; charset=utf-8")
    assert reply["cache-control"] == "no-store"
    found = scraped(reply.body, open_metrics=is_open)
    assert found.total("registry_http_requests_total", route="/v2/") == 1
    assert found["registry_build_info", {"version": __version__}] == 1


def test_what_is_stored(registry: Registry) -> None:
    """Bytes of content, sessions that are open, and repositories that hold a manifest."""
    registry.push_layers("a")
    registry.push("a", "latest", image())
    registry.push_blob("b", b"no manifest")
    registry.start("b")
    found = scraped(registry.ask("GET", "/metrics").body)
    assert found.one("registry_active_uploads") == 1
    assert found.one("registry_repositories_total") == 1
    assert found.one("registry_storage_bytes") > len(image()) + len(b"no manifest")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_for_who_is_logged_in(tmp_path: Path, method: str) -> None:
    """Where a login is asked for, metrics are for any user that has one, even one that may do nothing else."""
    registry = guarded(tmp_path, "login", **{"auth.default": []})
    assert registry.ask(method, "/metrics").error == (401, "UNAUTHORIZED")
    assert registry.ask(method, "/metrics", LOGIN).status == 200


def test_with_a_token(tmp_path: Path) -> None:
    """A token will do as well, one without any scope too."""
    registry = guarded(tmp_path, "login")
    token = registry.ask("GET", "/auth/token?service=cargohold", LOGIN).json["token"]
    assert registry.ask("GET", "/metrics", {"authorization": f"Bearer {token}"}).status == 200
    assert registry.ask("GET", "/metrics", {"authorization": f"Bearer {token}x"}).status == 401


def test_for_nobody_in_particular(tmp_path: Path) -> None:
    """A token that everyone can have is no login, whatever it may be good for; its bearer is asked for one."""
    rule = {"users": ["anonymous"], "actions": ["pull", "catalog"]}
    registry = guarded(tmp_path, "login", **{"auth.rules": [rule]})
    token = registry.ask("GET", "/auth/token?service=cargohold&scope=registry:catalog:*").json["token"]
    anonymous = {"authorization": f"Bearer {token}"}
    assert registry.ask("GET", "/v2/_catalog", anonymous).status == 200
    challenge = 'Bearer realm="http://localhost/auth/token",service="cargohold"'
    for headers, error in (({}, ""), (anonymous, ',error="insufficient_scope"')):
        reply = registry.ask("GET", "/metrics", headers)
        assert reply.error == (401, "UNAUTHORIZED")
        assert reply.errors[0]["detail"] == {"action": "metrics"}
        assert reply["www-authenticate"] == challenge + error
    assert registry.ask("GET", "/metrics", LOGIN).status == 200


@pytest.mark.parametrize(("subject", "status"), [("ann", 200), ("", 401), (None, 401)])
def test_with_a_token_of_another_service(tmp_path: Path, subject: str | None, status: int) -> None:
    """Whom another token service names is somebody; one of its tokens that names nobody does not do."""
    key = SigningKey(None)
    (tmp_path / "key.pem").write_bytes(key.pem)
    bearer = {"key": str(tmp_path / "key.pem"), "issuer": ISSUER, "service": AUDIENCE}
    registry = guarded(tmp_path, "login", **{f"auth.bearer.{name}": value for name, value in bearer.items()})
    now = int(time.time())
    token = signed(key, claims(sub=subject, iat=now, nbf=now, exp=now + 300))
    headers = {"authorization": f"Bearer {token}"}
    assert registry.ask("GET", "/v2/", headers).status == 200
    assert registry.ask("GET", "/metrics", headers).status == status


def test_without_a_login_anywhere(registry: Registry) -> None:
    """Where nobody is asked for a login, nobody is here."""
    assert registry.ask("GET", "/metrics").status == 200


def test_for_everyone(tmp_path: Path) -> None:
    """`everyone` opens the metrics, and nothing else."""
    registry = guarded(tmp_path, "everyone")
    assert registry.ask("GET", "/metrics").status == 200
    assert registry.ask("GET", "/metrics", {"authorization": "Basic !!!"}).status == 200
    for target in ("/v2/", "/v2/_catalog", "/v2/a/tags/list"):
        assert registry.ask("GET", target).status == 401


def test_for_nobody(tmp_path: Path) -> None:
    """`nobody` is 404, with a login as well, and says which setting it is."""
    registry = guarded(tmp_path, "nobody")
    reply = registry.ask("GET", "/metrics", LOGIN)
    assert reply.error == (404, "UNSUPPORTED")
    assert "metrics.access" in reply.errors[0]["message"]


def test_below_a_prefix() -> None:
    """They stand below the prefix, as everything does; the patterns of addresses are without it."""
    registry = Registry(load({"prefix": "/registry"}, {}))
    assert registry.ask("GET", "/metrics").status == 404
    registry.ask("GET", "/registry/v2/")
    found = scraped(registry.ask("GET", "/registry/metrics").body)
    assert found.total("registry_http_requests_total", route="/v2/", status="200") == 1
