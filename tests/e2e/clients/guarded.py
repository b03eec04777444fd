"""Registries that ask for a login: their settings, and their repositories as somebody who is signed in sees them."""

from __future__ import annotations

import json
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING

import bcrypt
import httpx2
import yaml

from tests.config.test_pages import blocks
from tests.e2e.clients.repository import Repository
from tests.e2e.clients.terminal import PAGE
from tests.e2e.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

PASSWORDS = {"ann": "a pear: ripe", "bob": "péché & plum"}
"""The users, and their passwords: what headers, forms and shells find hard is among them."""


def make_htpasswd(path: Path, passwords: Mapping[str, str] = PASSWORDS) -> Path:
    """A file of users; the cost of a hash is the least there is."""
    hashes = {name: bcrypt.hashpw(word.encode(), bcrypt.gensalt(4)) for name, word in passwords.items()}
    path.write_text("".join(f"{name}:{hashed.decode()}\n" for name, hashed in hashes.items()))
    return path


@contextmanager
def guarded(folder: Path, settings: Mapping[str, object]) -> Iterator[Server]:
    """A server with the users and more settings. Its tests fail logins on purpose, so that those are not limited."""
    ours = {"auth.htpasswd": make_htpasswd(folder / "htpasswd"), "limits.failed_logins": ""}
    server = Server(folder / "data", {**ours, **settings})
    try:
        yield server
    finally:
        code = server.stop()
    assert code == 0
    assert "Traceback" not in server.log
    assert not [word for word in PASSWORDS.values() if word in server.log]


def public_settings() -> dict[str, str]:
    """The page's example of pulling without a login, but for its file of users."""
    (example,) = blocks(PAGE.read_text(), "yaml")
    auth = yaml.safe_load(example)["auth"]
    del auth["htpasswd"]
    return {f"auth.{name}": json.dumps(value) for name, value in auth.items()}


@contextmanager
def repository(server: Server, place: str, user: str) -> Iterator[Repository]:
    """A repository below `place` that no other test uses, as `user` sees it."""
    login = httpx2.BasicAuth(user, PASSWORDS[user])
    with httpx2.Client(base_url=server.url, auth=login, timeout=60) as session:
        yield Repository(session, f"{place}/{uuid.uuid4().hex}/app")
