"""The CNCF Distribution registry by its configuration, and ours by what became of it, asked the same."""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import bcrypt
import pytest

from cargohold.config.distribution import import_distribution
from cargohold.config.document_yaml import read_yaml
from cargohold.config.settings import SETTINGS
from tests.e2e.clients.absence import require
from tests.e2e.server import Server
from tests.http.serving import WAIT_SECONDS, until
from tests.http.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DIGEST = f"sha256:{'0' * 64}"
ASKED = [
    ("GET", "/v2/"),
    ("POST", "/v2/a/blobs/uploads/"),
    ("GET", "/v2/a/tags/list"),
    ("GET", "/v2/_catalog"),
    ("DELETE", f"/v2/a/manifests/{DIGEST}"),
    ("DELETE", f"/v2/a/blobs/{DIGEST}"),
]

CONFIGURATIONS = {
    "plain": "",
    "deletion": "  delete: {enabled: true}\n",
    "read only": "  delete: {enabled: true}\n  maintenance: {readonly: {enabled: true}}\n",
    "login": "  delete: {enabled: true}\nauth: {htpasswd: {realm: r, path: HTPASSWD}}\n",
    "lists": "catalog: {maxentries: 5}\n",
}


@contextmanager
def distribution(file: Path) -> Iterator[str]:
    """Theirs, by a file; gives its address."""
    # 3.x where that is on PATH, and otherwise Debian's package of 2.x.
    program, errors = shutil.which("registry") or require("docker-registry"), file.with_suffix(".log")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")}
    with errors.open("wb") as log:
        process = subprocess.Popen(
            [program, "serve", str(file)],
            stdout=log,
            stderr=log,
            env={**environ, "OTEL_TRACES_EXPORTER": "none"},
        )
    try:
        until(lambda: b"listening on" in errors.read_bytes() or process.poll() is not None)
        listening = re.search(r"listening on (127\.0\.0\.1:\d+)", errors.read_text())
        assert listening is not None, errors.read_text()
        yield f"http://{listening[1]}"
    finally:
        process.terminate()
        process.wait(WAIT_SECONDS)


def answers(address: str, prefix: str) -> list[tuple[object, ...]]:
    """What each question is answered with: without a login, and with one."""
    login = base64.b64encode(b"ann:secret").decode()
    found: list[tuple[object, ...]] = []
    for method, path in ASKED:
        for header in ("Accept: */*", f"Authorization: Basic {login}"):
            with Wire(address) as wire:
                answer = wire.ask(method, f"{prefix}{path}", header, "Content-Length: 0")
            own = ", ".join(value for name, value in answer.headers if name == "x-own")
            found.append((method, path, answer.status, own))
    return found


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_answers_are_the_same(name: str, tmp_path: Path) -> None:
    """Both allow, refuse and ask for a login alike, under the same prefix and with the same headers."""
    users = tmp_path / "users"
    users.write_bytes(b"ann:" + bcrypt.hashpw(b"secret", bcrypt.gensalt(4)))
    text = (
        "version: 0.1\nlog: {accesslog: {disabled: true}}\n"
        "http: {addr: '127.0.0.1:0', prefix: /deep/, headers: {X-Own: [ours, theirs]}}\n"
        f"storage:\n  filesystem: {{rootdirectory: {tmp_path / 'theirs'}}}\n"
    ) + CONFIGURATIONS[name].replace("HTPASSWD", str(users))
    file = tmp_path / "config.yml"
    file.write_text(text)
    with distribution(file) as address:
        theirs = answers(address, "/deep")
    entries = {entry.path: entry.value for entry in import_distribution(read_yaml(text)).entries}
    del entries["storage.path"]
    settings = {
        path: SETTINGS[path].kind.write(SETTINGS[path].kind.read(value)) for path, value in entries.items()
    }
    (tmp_path / "ours").mkdir()
    server = Server(tmp_path / "ours", settings)
    try:
        ours = answers(f"http://{server.host}", "/deep")
    finally:
        assert server.stop() == 0
    assert ours == theirs
