"""What settings ask of each other."""

from __future__ import annotations

import json
import re
import sys

import pytest

from cargohold.config import SettingsError, load
from cargohold.config.checks import asks_for_login, sends_passwords_in_the_clear
from cargohold.types.names import LONGEST_USER, check_user_name

RULE = '[{"users": ["ann"], "actions": ["pull"]}]'
ANONYMOUS = '[{"users": ["anonymous"], "actions": ["pull"]}]'
ISSUER = (
    '[{"issuer": "https://ci.example", "audience": "us",'
    ' "rules": [{"claims": {"sub": "a"}, "repository": "a", "actions": ["pull"]}]}]'
)
BEARER = {"auth.bearer.issuer": "i", "auth.bearer.service": "s"}
TLS = {"tls.certificate": "c.pem", "tls.key": "k.pem"}

LOGINS: list[dict[str, str]] = [
    {"auth.htpasswd": "users"},
    {"auth.required": "true"},
    {"auth.administrators": '["ann"]'},
    {"auth.rules": RULE},
    {"auth.oidc": ISSUER},
    {"auth.bearer.key": "k.pem", **BEARER},
    {"auth.bearer.jwks": "k.json", **BEARER},
    {"auth.bearer.jwks_url": "https://login.example/keys", **BEARER},
]


def problem(settings: dict[str, str]) -> str:
    with pytest.raises(SettingsError) as raised:
        load(settings, {})
    (found,) = raised.value.problems
    return str(found).removeprefix("command line: ")


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "192.0.2.1", "fe80::1%eth0", "registry.example", "128.0.0.1"]
)
def test_what_others_can_reach_needs_a_login(host: str) -> None:
    """Beyond loopback a registry without a login is refused, unless it is said to be open in so many words."""
    assert problem({"host": host}).startswith(f"host: {host} can be reached from other machines")
    assert "auth.htpasswd" in problem({"host": host})
    assert load({"host": host, "auth.open_to_everyone": "true"}, {}).host == host
    for login in LOGINS:
        assert asks_for_login(load({"host": host, **login}, {}))


@pytest.mark.parametrize(
    "place", [{"host": "127.0.0.1"}, {"host": "127.8.9.1"}, {"host": "::1"}, {"host": "localhost"}]
)
def test_this_machine_needs_no_login(place: dict[str, str]) -> None:
    """On loopback, and on a Unix socket whatever the host is, no login is needed."""
    assert not asks_for_login(load(place, {}))
    assert not asks_for_login(load({"host": "0.0.0.0", "socket": "/run/registry.sock"}, {}))


@pytest.mark.parametrize("login", LOGINS, ids=lambda login: next(iter(login)))
def test_a_login_is_not_open_to_everyone(login: dict[str, str]) -> None:
    """To ask for a login and to be open to everyone is a contradiction."""
    assert problem({"auth.open_to_everyone": "true", **login}).startswith(
        "auth.open_to_everyone: must be false"
    )


def test_logins_cross_a_network_in_the_clear() -> None:
    """That is so where a login is asked for beyond loopback, with neither TLS nor a proxy that is known."""
    far, login = {"host": "0.0.0.0"}, {"auth.htpasswd": "users"}
    assert sends_passwords_in_the_clear(load({**far, **login}, {}))
    assert sends_passwords_in_the_clear(load({**login, "server.public_url": "http://r.example"}, {}))
    assert not sends_passwords_in_the_clear(load({**login, "server.public_url": "http://localhost:5000"}, {}))
    for secured in (
        login,
        {**far, **login, **TLS},
        {**far, **login, "server.trusted_proxies": '["10.0.0.1"]'},
        {**far, **login, "socket": "/run/registry.sock"},
        {**far, "auth.open_to_everyone": "true"},
    ):
        assert not sends_passwords_in_the_clear(load(secured, {}))


@pytest.mark.parametrize(
    ("settings", "begins"),
    [
        (
            {"auth.rules": '[{"groups": ["team"], "actions": []}]'},
            "auth.rules: entry 1: auth.groups has no group 'team'",
        ),
        (
            {"server.accel_redirect": "/internal"},
            "server.accel_redirect: means nothing where no proxy is trusted",
        ),
        (
            {"auth.administrators": '["*"]'},
            "auth.administrators: * is no user's name",
        ),
        (
            {"auth.required": "true", "auth.groups": '{"team": ["anonymous"]}'},
            "auth.groups: team: anonymous is no user's name",
        ),
        (
            {"auth.rules": ANONYMOUS, "auth.challenge": "basic"},
            "auth.challenge: must be bearer or auto where a rule",
        ),
        (
            {"auth.bearer.key": "k", "auth.bearer.jwks": "j", **BEARER},
            "auth.bearer: write one of key and jwks, not 2",
        ),
        ({"auth.bearer.key": "k"}, "auth.bearer: issuer and service must both be written"),
        (
            {"auth.bearer.key": "k", "auth.bearer.issuer": "i"},
            "auth.bearer: issuer and service must both be written",
        ),
        ({"auth.bearer.issuer": "i"}, "auth.bearer: key, jwks or jwks_url must say"),
        (
            {
                "auth.bearer.key": "k",
                "auth.bearer.realm": "https://l.example",
                "auth.challenge": "basic",
                **BEARER,
            },
            "auth.challenge: must be bearer or auto where auth.bearer.realm",
        ),
        ({"tls.certificate": "c"}, "tls.key: must be written too"),
        ({**TLS, "server.public_url": "http://r.example"}, "server.public_url: must begin with https:"),
        ({"auth.default": "[]"}, "auth.default: means nothing where no login is configured"),
        ({"auth.groups": '{"team": ["ann"]}'}, "auth.groups: means nothing where no login is configured"),
        ({"auth.challenge": "bearer"}, "auth.challenge: means nothing where no login is configured"),
        ({"tls.key": "k"}, "tls.certificate: must be written too"),
        ({"tls.client_ca": "c"}, "tls.client_ca: needs tls.certificate and tls.key"),
        ({"tls.redirect_port": "80"}, "tls.redirect_port: needs tls.certificate and tls.key"),
        (
            {**TLS, "port": "443", "tls.redirect_port": "443"},
            "tls.redirect_port: must be another port than 443",
        ),
        ({"socket": "/run/s", **TLS}, "tls.certificate: must be left out where socket is set"),
    ],
)
def test_what_does_not_go_together(settings: dict[str, str], begins: str) -> None:
    """Each contradiction is one line that names the setting to change."""
    assert problem(settings).startswith(begins)


def test_users_are_named_as_in_their_file() -> None:
    """Whoever can stand in the file of users can be named in the settings, and nobody else."""
    for name in ("Ann Lee", "a,b", "j\u00fcrgen", "x" * LONGEST_USER):
        check_user_name(name)
        settings = load({"auth.required": "true", "auth.administrators": json.dumps([name])}, {})
        assert settings.auth.administrators == (name,)
    for name in ("", "a:b", "#a", " a", "a ", "a\tb", "\u2028", "x" * (LONGEST_USER + 1)):
        with pytest.raises(ValueError, match="name"):
            check_user_name(name)
        assert "is no name" in problem({"auth.administrators": json.dumps([name])})


def test_traces_need_their_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the libraries of traces cannot be imported, an address to send them to is a problem; else it is none."""
    settings = {"tracing.endpoint": "http://127.0.0.1:4318/v1/traces"}
    assert load(settings, {}).tracing.endpoint
    for name in [name for name in sys.modules if name.startswith("opentelemetry.")]:
        monkeypatch.delitem(sys.modules, name)  # another test may have used them
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    assert problem(settings).startswith("tracing.endpoint: needs what is not installed: run pip install")
    assert load({}, {}).tracing.endpoint is None


@pytest.mark.parametrize(
    ("path", "text", "reason"),
    [
        ("auth.rules", '[{"actions": ["pull"]}]', "entry 1: it names nobody"),
        ("auth.rules", '[{"users": ["a"], "actions": ["fly"]}]', "Invalid enum value 'fly'"),
        ("auth.rules", '[{"users": ["a"]}]', "missing required field `actions`"),
        ("auth.rules", '[{"user": ["a"], "actions": []}]', "unknown field `user`"),
        (
            "auth.rules",
            '[{"users": ["a"], "actions": [], "repository": "a//b"}]',
            "is no pattern of repositories",
        ),
        (
            "auth.rules",
            '[{"users": ["a"], "actions": [], "repository": "a/**b"}]',
            "is no pattern of repositories",
        ),
        ("auth.rules", '[{"users": ["a"], "actions": ["catalog"], "repository": "a"}]', "of no repository"),
        ("auth.rules", '[{"users": ["a:b"], "actions": []}]', "is no name"),
        ("auth.groups", '{"team": "ann"}', "group team"),
        ("auth.oidc", ISSUER.replace("https", "http"), "plain HTTP"),
        ("auth.oidc", ISSUER.replace('{"sub": "a"}', "{}"), "names no claims"),
        ("auth.oidc", ISSUER.replace('"us"', '""'), "the audience is empty"),
        ("auth.bearer.jwks_url", "http://login.example/keys", "plain HTTP"),
        ("server.public_url", "registry.example", "must be an address"),
        ("server.public_url", "https://registry.example?a=b", "must be an address"),
        ("server.public_url", "https://registry.example/deep", "the setting prefix"),
        ("auth.bearer.realm", "http://login.example/token", "plain HTTP"),
        ("server.trusted_proxies", '["10.0.0.1/8"]', "has host bits set"),
        ("limits.allow", '["unix"]', "does not appear to be"),
        ("limits.address.reads", "many", "must be a number of requests"),
        ("limits.address.reads", "0/minute", "must be a number of requests"),
        ("auth.bearer.algorithms", '["HS256"]', "must be a list of some of"),
        ("auth.bearer.algorithms", '["none"]', "must be a list of some of"),
        ("auth.default", '["fly"]', "must be a list of pull"),
        ("auth.token.service", 'a"b', "without quotation marks"),
    ],
)
def test_what_cannot_be_meant(path: str, text: str, reason: str) -> None:
    """A value that means nothing is refused with the reason, and the setting's name."""
    found = problem({path: text})
    assert re.match(f"{path}: (must be |entry 1: |.*: (must be|write) )", found)
    assert reason in found
