"""Commands log in to running registries: as these ask for it, and as their user has said or stored it."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import httpx2
import pytest

from tests.certificates import CLIENT, Authority
from tests.cli.asking import PASSWORD, USER, ask, done, refused, write_users
from tests.interop.peer import Peer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.conftest import Start
    from tests.e2e.server import Server

LOGIN = ("--user", USER, "--password-stdin")


def push(server: Server, *names: str) -> None:
    """As the user."""
    with Peer(server.url) as peer:
        peer.http.auth = (USER, PASSWORD)
        for name in names:
            peer.push(name, "1.0", text="one")


def store(home: Path, host: str, **entry: str) -> None:
    """As docker stores a login."""
    (home / ".docker").mkdir(exist_ok=True)
    (home / ".docker/config.json").write_text(json.dumps({"auths": {host: entry}}))


def basic(password: str) -> str:
    return base64.b64encode(f"{USER}:{password}".encode()).decode()


@pytest.fixture(params=["basic", "bearer"])
def guarded(request: pytest.FixtureRequest, start: Start, tmp_path: Path) -> Server:
    """A registry that only its user may use, asking for a login in one of both ways; it has team/app."""
    settings = {
        "auth.htpasswd": write_users(tmp_path / "users"),
        "auth.challenge": request.param,
        "workers": 1,
    }
    server = start(settings | {"manifests.allow_tag_deletion": "true"})
    push(server, "team/app")
    return server


def test_given(guarded: Server, tmp_path: Path) -> None:
    """Every command goes by the user and the password that are given; the password is nowhere in what is said."""
    image = f"{guarded.host}/team/app"
    assert done(tmp_path, "ls", guarded.host, *LOGIN, typed=f"{PASSWORD}\n") == "team/app\n"
    assert done(tmp_path, "tags", image, *LOGIN, typed=PASSWORD) == "1.0\n"
    told = json.loads(done(tmp_path, "inspect", "--json", f"{image}:1.0", *LOGIN, typed=PASSWORD))
    assert told["annotations"] == {"text": "one"}
    gone = ask(tmp_path, "rm", "--yes", f"{image}:1.0", *LOGIN, typed=PASSWORD)
    assert (gone.exit_code, gone.stdout) == (0, f"removed tag {image}:1.0\n")
    wrong = ask(tmp_path, "ls", guarded.host, *LOGIN, typed=f"{PASSWORD}x")
    assert wrong.exit_code == 1
    assert "401 UNAUTHORIZED" in wrong.stderr
    assert PASSWORD not in wrong.output


def test_stored(guarded: Server, tmp_path: Path) -> None:
    """Without a user it goes by what is stored; with neither, whoever runs it is told what to do."""
    words = refused(tmp_path, "ls", guarded.host)
    assert "401 UNAUTHORIZED" in words
    assert words.endswith("give a login with --user, or log in with docker or podman before")
    store(tmp_path, guarded.host, auth=basic(PASSWORD))
    assert done(tmp_path, "ls", guarded.host) == "team/app\n"
    store(tmp_path, guarded.host, auth=basic("other"))
    assert "401 UNAUTHORIZED" in refused(tmp_path, "ls", guarded.host)
    assert done(tmp_path, "ls", guarded.host, *LOGIN, typed=PASSWORD) == "team/app\n"


def test_refresh_token(start: Start, tmp_path: Path) -> None:
    """What docker keeps in place of a password is good for tokens."""
    server = start(
        {"auth.htpasswd": write_users(tmp_path / "users"), "auth.challenge": "bearer", "workers": 1}
    )
    push(server, "team/app")
    query = {"service": "cargohold", "offline_token": "true", "client_id": "docker"}
    answer = httpx2.get(f"{server.url}/auth/token", params=query, auth=(USER, PASSWORD))
    store(tmp_path, server.host, identitytoken=answer.json()["refresh_token"])
    assert done(tmp_path, "ls", server.host) == "team/app\n"
    store(tmp_path, server.host, identitytoken="made up")
    assert "401" in refused(tmp_path, "ls", server.host)


def test_anonymous(start: Start, tmp_path: Path) -> None:
    """Where anonymous may pull they get a token without a login; with a login one sees what that may see."""
    rules = [
        {"repository": "public/**", "users": ["anonymous"], "actions": ["pull"]},
        {"repository": "**", "users": [USER], "actions": ["pull", "push", "delete", "catalog"]},
    ]
    users = write_users(tmp_path / "users")
    server = start({"auth.htpasswd": users, "auth.rules": json.dumps(rules), "workers": 1})
    push(server, "public/app", "private/app")
    assert done(tmp_path, "tags", f"{server.host}/public/app") == "1.0\n"
    assert "401 UNAUTHORIZED" in refused(tmp_path, "tags", f"{server.host}/private/app")
    store(tmp_path, server.host, auth=basic(PASSWORD))
    assert done(tmp_path, "tags", f"{server.host}/private/app") == "1.0\n"
    assert done(tmp_path, "ls", server.host) == "private/app\npublic/app\n"


def test_tls(start: Start, tmp_path: Path) -> None:
    """A certificate is verified by the authorities of the system and those of --ca, or not at all if that is said."""
    authority = Authority().write(tmp_path / "ca")
    authority.issue().write(tmp_path / "certificate", tmp_path / "key")
    server = start({"tls.certificate": tmp_path / "certificate", "tls.key": tmp_path / "key", "workers": 1})
    words = refused(tmp_path, "ls", server.url)
    assert "CERTIFICATE_VERIFY_FAILED" in words
    assert words.endswith("name the authority that signed its certificate with --ca")
    assert done(tmp_path, "ls", server.url, "--ca", tmp_path / "ca") == ""
    assert done(tmp_path, "ls", server.url, "--insecure") == ""
    assert "cannot be used as certificates to trust" in refused(
        tmp_path, "ls", server.url, "--ca", tmp_path / "no"
    )
    assert "it may speak TLS: begin with https://" in refused(tmp_path, "ls", server.host)


def test_client_certificates(start: Start, tmp_path: Path) -> None:
    """A registry that asks for certificates is shown that of the command line."""
    authority = Authority().write(tmp_path / "ca")
    authority.issue().write(tmp_path / "certificate", tmp_path / "key")
    client = authority.issue("ann", usage=CLIENT)
    client.write(tmp_path / "client", tmp_path / "client-key")
    (tmp_path / "both").write_bytes(client.pem + client.key_pem())
    (tmp_path / "locked").write_bytes(client.pem + client.key_pem(b"s3cret"))
    settings = {name: tmp_path / name.partition(".")[2] for name in ("tls.certificate", "tls.key")}
    server = start({**settings, "tls.client_ca": tmp_path / "ca", "workers": 1})
    command = ("ls", server.url, "--ca", tmp_path / "ca")
    assert done(tmp_path, *command, "--certificate", tmp_path / "both") == ""
    assert (
        done(tmp_path, *command, "--certificate", tmp_path / "client", "--key", tmp_path / "client-key") == ""
    )
    refused(tmp_path, *command)
    assert "its key is encrypted" in refused(tmp_path, *command, "--certificate", tmp_path / "locked")
    assert ask(tmp_path, *command, "--key", tmp_path / "client-key").exit_code == 2


@pytest.mark.parametrize("challenge", ["basic", "bearer"])
def test_prefix(start: Start, tmp_path: Path, challenge: str) -> None:
    """A registry below a path is found there: its lists, over their pages, and its token service."""
    users = write_users(tmp_path / "users")
    settings = {
        "auth.htpasswd": users,
        "auth.challenge": challenge,
        "prefix": "/hold",
        "lists.default_page": 1,
    }
    server = start(settings | {"workers": 1})
    push(server, "a", "b/c")
    store(tmp_path, server.host, auth=basic(PASSWORD))
    assert done(tmp_path, "ls", f"{server.host}/hold") == "a\nb/c\n"
    assert done(tmp_path, "tags", f"{server.host}/b/c", "--prefix", "hold") == "1.0\n"
    assert "there is no registry here" in refused(tmp_path, "ls", server.host)


def test_misuse(tmp_path: Path) -> None:
    """A password without a user, or a user without a way to give the password, ends with 2 before anything is asked."""
    for words, message in [
        (["--password-stdin"], "--password-stdin is the password of a --user"),
        (["--user", USER], "there is no terminal to ask for the password; use --password-stdin"),
    ]:
        result = ask(tmp_path, "ls", "localhost:1", *words)
        assert (result.exit_code, result.stdout) == (2, "")
        assert message in result.stderr
