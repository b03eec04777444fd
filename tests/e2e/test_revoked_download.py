"""What has begun when a login ends."""

from __future__ import annotations

import base64
import hashlib
import socket
from typing import TYPE_CHECKING

import bcrypt
import httpx2

from tests.http.serving import until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.conftest import Start

SIZE = 64 << 20


def test_a_download_goes_on_when_its_user_is_gone(start: Start, tmp_path: Path) -> None:
    """Rules are asked when a request begins: one that is under way comes to its end, the next is refused."""
    users = tmp_path / "users"
    users.write_text(f"ann:{bcrypt.hashpw(b'ann', bcrypt.gensalt(4)).decode()}\n")
    server = start({"auth.htpasswd": users})
    content = hashlib.shake_128(b"content").digest(SIZE)
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    with httpx2.Client(base_url=server.url, auth=("ann", "ann"), timeout=60) as ann:
        pushed = ann.post(f"/v2/app/blobs/uploads/?digest={digest}", content=content)
        assert pushed.status_code == 201
        host, _, port = server.host.partition(":")
        login = base64.b64encode(b"ann:ann").decode()
        with socket.create_connection((host, int(port)), timeout=60) as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
            head = f"GET /v2/app/blobs/{digest} HTTP/1.1\r\nHost: {server.host}\r\nAuthorization: Basic {login}\r\n"
            slow.sendall(f"{head}Connection: close\r\n\r\n".encode())
            begun = slow.recv(1000)
            assert begun.startswith(b"HTTP/1.1 200 ")
            users.write_text("")
            until(lambda: ann.get("/v2/").status_code == 401)
            received = bytearray(begun)
            while piece := slow.recv(1 << 20):
                received += piece
        assert bytes(received).partition(b"\r\n\r\n")[2] == content
