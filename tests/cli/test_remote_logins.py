"""The logins that other programs have stored, in their own files, and with programs that keep them."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest

from cargohold.cli.refusal import Refused
from cargohold.cli.remote.logins import Login, stored_login

if TYPE_CHECKING:
    from pathlib import Path

HOST = "registry.example.com:5000"


def auth(user: str, password: str = "s3cret") -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def store(path: Path, entries: dict[str, object], **more: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"auths": entries, **more}))


def find(home: Path, repository: str = "team/app", **environ: str) -> Login | None:
    return stored_login(HOST, repository, {"HOME": str(home), **environ})


def user(home: Path, repository: str = "team/app", **environ: str) -> str | None:
    login = find(home, repository, **environ)
    return None if login is None else login.user


def test_places(tmp_path: Path) -> None:
    """The first place that has a login counts: the file that is named, docker's, and podman's two."""
    assert user(tmp_path) is None
    environ: dict[str, str] = {}
    places = [
        (tmp_path / ".config/containers/auth.json", {}),
        (tmp_path / "run/containers/auth.json", {"XDG_RUNTIME_DIR": f"{tmp_path}/run"}),
        (tmp_path / ".docker/config.json", {}),
        (tmp_path / "named.json", {"REGISTRY_AUTH_FILE": f"{tmp_path}/named.json"}),
    ]
    for number, (path, named) in enumerate(places):
        environ |= named
        store(path, {"another.example.com": auth("other")})
        assert user(tmp_path, **environ) == (None if number == 0 else f"user{number - 1}")
        store(path, {HOST: auth(f"user{number}")})
        assert user(tmp_path, **environ) == f"user{number}"
    assert user(tmp_path, DOCKER_CONFIG=f"{tmp_path}/nowhere", **environ) == "user3"


@pytest.mark.parametrize(
    "key", [HOST, f"https://{HOST}", f"http://{HOST}/v2/", f"https://{HOST}/v1/", f"{HOST}/"]
)
def test_keys(tmp_path: Path, key: str) -> None:
    """A registry is known by its host and port, with whatever docker has put around them."""
    store(tmp_path / ".docker/config.json", {key: auth("ann", "a:b")})
    assert find(tmp_path) == Login("ann", "a:b")


def test_narrowest(tmp_path: Path) -> None:
    """A login for the repository comes before one for what is above it, and that before the registry's."""
    entries = {HOST: auth("all"), f"{HOST}/team": auth("team"), f"{HOST}/team/app": auth("app")}
    store(tmp_path / ".docker/config.json", dict(entries))
    found = [user(tmp_path, name) for name in ("team/app", "team/app/x", "team/other", "teams", "")]
    assert found == ["app", "app", "team", "all", "all"]


def test_forms(tmp_path: Path) -> None:
    """A name and a password may stand apart; a refresh token is told from a password; an empty entry is none."""
    path = tmp_path / ".docker/config.json"
    store(path, {HOST: {"username": "ann", "password": "x"}})
    assert find(tmp_path) == Login("ann", "x")
    store(path, {HOST: {**auth("ann", ""), "identitytoken": "refresh"}})
    assert find(tmp_path) == Login("", "refresh", is_refresh_token=True)
    for entry in ({}, None, {"auth": ""}, auth("", "")):
        store(path, {HOST: entry})
        assert find(tmp_path) is None


@pytest.fixture
def helper(tmp_path: Path) -> Path:
    """A program that keeps the login of the host, first on PATH."""
    program = tmp_path / "bin/docker-credential-box"
    program.parent.mkdir()
    program.write_text(
        '#!/bin/sh\n[ "$1" = get ] && read host\n'
        f'[ "$host" = {HOST} ] || {{ echo "credentials not found in native keychain"; exit 1; }}\n'
        'cat "$HOME/kept"\n'
    )
    program.chmod(0o755)
    return program


@pytest.mark.parametrize(
    "more", [{"credsStore": "box"}, {"credHelpers": {HOST: "box"}, "credsStore": "none"}]
)
def test_helpers(
    tmp_path: Path, helper: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, object]
) -> None:
    """Where a program keeps the logins it is asked: for the registry, and without a shell."""
    monkeypatch.setenv("PATH", f"{helper.parent}:/usr/bin:/bin")
    monkeypatch.setenv("HOME", str(tmp_path))
    store(tmp_path / ".docker/config.json", {HOST: {}}, **more)
    (tmp_path / "kept").write_text(json.dumps({"ServerURL": HOST, "Username": "ann", "Secret": "x"}))
    assert find(tmp_path) == Login("ann", "x")
    (tmp_path / "kept").write_text(json.dumps({"Username": "<token>", "Secret": "x"}))
    assert find(tmp_path) == Login("<token>", "x", is_refresh_token=True)
    (tmp_path / "kept").write_text("what is this s3cret")
    with pytest.raises(Refused, match="its answer is not understood") as raised:
        find(tmp_path)
    assert "s3cret" not in raised.value.message


def test_helper_without_it(tmp_path: Path, helper: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that keeps nothing for a registry leaves it to the file."""
    monkeypatch.setenv("PATH", f"{helper.parent}:/usr/bin:/bin")
    config = tmp_path / ".docker/config.json"
    store(config, {"other.example.com": auth("ann")}, credsStore="box")
    assert stored_login("other.example.com", "", {"HOME": str(tmp_path)}) == Login("ann", "s3cret")
    assert stored_login("third.example.com", "", {"HOME": str(tmp_path)}) is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is not a file of logins"),
        ('{"auths": []}', "is not a file of logins"),
        ('{"auths": {"s3cret": "\udcff"}}', "is not a file of logins"),
        ('{"auths": ' + '{"s3cret":' * 9999, "is not a file of logins"),
        (
            json.dumps({"auths": {HOST: {"auth": "not base64 s3cret"}}}),
            "is not a name and a password in base64",
        ),
        ('{"credsStore": "nowhere"}', "docker-credential-nowhere, which keeps the logins: No such file"),
        ('{"credsStore": "../evil"}', "docker-credential-../evil is no name of a program"),
    ],
)
def test_unusable(tmp_path: Path, content: str, words: str) -> None:
    """A file that cannot be used is named, with what is wrong, and without what is in it."""
    path = tmp_path / ".docker/config.json"
    path.parent.mkdir()
    path.write_text(content, errors="surrogateescape")
    with pytest.raises(Refused) as raised:
        find(tmp_path)
    assert words in raised.value.message
    assert "s3cret" not in raised.value.message


def test_broken_helper(tmp_path: Path, helper: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that fails is not taken for one that keeps nothing."""
    monkeypatch.setenv("PATH", f"{helper.parent}:/usr/bin:/bin")
    monkeypatch.setenv("HOME", str(tmp_path))
    store(tmp_path / ".docker/config.json", {}, credsStore="box")
    with pytest.raises(
        Refused, match=r"docker-credential-box, which keeps the logins, ended with 1: cat: .*kept"
    ):
        find(tmp_path)
    (tmp_path / "kept").write_bytes(b'{"Username": "ann", "Secret": "\xff"}')
    with pytest.raises(Refused, match="its answer is not understood"):
        find(tmp_path)


def test_secret_is_not_shown() -> None:
    """A login that is printed by mistake does not show its secret."""
    assert "s3cret" not in f"{Login('ann', 's3cret')!r} {Login('ann', 's3cret')}"
