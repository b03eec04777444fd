"""Uploads, over HTTP, of what the registry has stored already: who may see everything need not have it written again.

Nobody else learns by that what others have stored.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import socket
import time
from base64 import b64encode
from typing import TYPE_CHECKING

import bcrypt
import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.conftest import Start
    from tests.e2e.server import Server

CONTENT = os.urandom(3_000_000)
PROBE = bytes(2 << 20)
WAIT_SECONDS = 10.0


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


STORED, ABSENT = sha256(CONTENT), sha256(b"never pushed")


class Client:
    """A client of its own connection, who comes as a user of that name and password, or without a login."""

    def __init__(self, server: Server, name: str = "") -> None:
        self._server = server
        login = b64encode(f"{name}:{name}".encode()).decode()
        self._headers = {"Authorization": f"Basic {login}"} if name else {}

    def ask(self, expected: int, method: str, target: str, body: bytes = b"") -> dict[str, str]:
        connection = http.client.HTTPConnection(self._server.host, timeout=30)
        try:
            connection.request(method, target, body or None, self._headers)
            answer = connection.getresponse()
            said = answer.read()
        finally:
            connection.close()
        assert answer.status == expected, said
        return {name.lower(): value for name, value in answer.getheaders()}

    def push(self, repository: str, content: bytes, digest: str, expected: int = 201) -> None:
        begun = self.ask(202, "POST", f"/v2/{repository}/blobs/uploads/")["location"]
        self.ask(expected, "PUT", f"{begun}?digest={digest}", content)

    def break_off(self, repository: str, digest: str) -> int:
        """How much of a body that breaks off, and was said to be of this digest, a session holds then."""
        begun = self.ask(202, "POST", f"/v2/{repository}/blobs/uploads/")["location"]
        host, port = self._server.host.split(":")
        head = [
            f"PUT {begun}?digest={digest} HTTP/1.1",
            f"Host: {self._server.host}",
            f"Content-Length: {len(CONTENT)}",
            *(f"{name}: {value}" for name, value in self._headers.items()),
        ]
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            connection.sendall("\r\n".join([*head, "", ""]).encode() + PROBE)
        deadline, held = time.monotonic() + WAIT_SECONDS, 0
        while held < len(PROBE) and time.monotonic() < deadline:
            held = int(self.ask(204, "GET", begun)["range"].partition("-")[2]) + 1
            time.sleep(0.05)
        return held if held > 1 else 0  # `0-0` is said of none


@pytest.fixture
def guarded(start: Start, tmp_path: Path) -> Server:
    """Ann may do everything, and eve push to `eve/**` and pull from there."""
    users = tmp_path / "users"
    hashes = {name: bcrypt.hashpw(name.encode(), bcrypt.gensalt(4)).decode() for name in ("ann", "eve")}
    users.write_text("".join(f"{name}:{hashed}\n" for name, hashed in hashes.items()))
    rules = [{"repository": "eve/**", "users": ["eve"], "actions": ["pull", "push"]}]
    return start({"auth.htpasswd": users, "auth.administrators": '["ann"]', "auth.rules": json.dumps(rules)})


def test_nothing_is_learned_from_a_body_that_breaks_off(guarded: Server) -> None:
    """Of what somebody else has stored as much is kept as of what nobody has."""
    Client(guarded, "ann").push("hidden/app", CONTENT, STORED)
    eve = Client(guarded, "eve")
    assert [eve.break_off("eve/own", digest) for digest in (STORED, ABSENT)] == [len(PROBE)] * 2


def test_who_sees_everything(start: Start) -> None:
    """Without logins it is hashed alone: the blob is the other repository's too, and other bytes are not."""
    client = Client(start({}))
    client.push("one/app", CONTENT, STORED)
    client.push("other/app", CONTENT, STORED)
    client.push("third/app", CONTENT[:-1] + b"x", STORED, 400)
    client.ask(200, "HEAD", f"/v2/other/app/blobs/{STORED}")
    client.ask(404, "HEAD", f"/v2/third/app/blobs/{STORED}")
    assert client.break_off("other/app", STORED) == 0
    assert client.break_off("other/app", ABSENT) == len(PROBE)
