"""The whole registry over TLS, with its settings."""

from __future__ import annotations

import hashlib
import json
import random
import re
import signal
import ssl
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import pytest

from cargohold.config import load
from tests.certificates import CLIENT, Authority
from tests.config.test_pages import blocks
from tests.e2e.clients.guarded import PASSWORDS, make_htpasswd
from tests.e2e.memory import MIB, proportional_bytes
from tests.e2e.pushing import EMPTY, MANIFEST, digest_of, make_manifest
from tests.http.serving import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.conftest import Start

LARGE = 100 * MIB
PAGE = Path(__file__).parents[2] / "docs/tls.md"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def settings(authority: Authority, tmp_path: Path) -> dict[str, object]:
    """A certificate and its key."""
    authority.write(tmp_path / "authority")
    authority.issue().write(tmp_path / "certificate", tmp_path / "key")
    return {"tls.certificate": tmp_path / "certificate", "tls.key": tmp_path / "key"}


@pytest.fixture
def trust(settings: dict[str, object], tmp_path: Path) -> ssl.SSLContext:
    """What a client believes who trusts the authority."""
    assert settings
    return ssl.create_default_context(cafile=str(tmp_path / "authority"))


def push(session: httpx2.Client, name: str, content: bytes) -> None:
    """Push a blob in two chunks, and a manifest that names it."""
    location = session.post(f"/v2/{name}/blobs/uploads/").headers["location"]
    assert location.startswith("/v2/")
    for piece in (content[: len(content) // 2], content[len(content) // 2 :]):
        answer = session.patch(location, content=piece)
        assert answer.status_code == 202, answer.text
        location = answer.headers["location"]
    assert session.put(location, params={"digest": digest_of(content)}).status_code == 201
    given = session.post(f"/v2/{name}/blobs/uploads/", params={"digest": digest_of(EMPTY)}, content=EMPTY)
    assert given.status_code == 201
    headers = {"Content-Type": MANIFEST}
    manifest = make_manifest("over TLS", [content])
    assert session.put(f"/v2/{name}/manifests/v1", content=manifest, headers=headers).status_code == 201


def pull(session: httpx2.Client, name: str) -> bytes:
    manifest = session.get(f"/v2/{name}/manifests/v1", headers={"Accept": MANIFEST}).json()
    return session.get(f"/v2/{name}/blobs/{manifest['layers'][0]['digest']}").content


@pytest.mark.parametrize("http2", [False, True])
def test_push_and_pull(
    start: Start, settings: dict[str, object], trust: ssl.SSLContext, *, http2: bool
) -> None:
    """What is pushed comes back, over HTTP/1.1 and, where that is on, HTTP/2."""
    server = start({**settings, "http2": http2})
    assert server.url == f"https://{server.host}"
    content = random.Random(7).randbytes(5 * MIB)
    with httpx2.Client(base_url=server.url, verify=trust, http2=True) as session:
        assert session.get("/v2/").http_version == ("HTTP/2" if http2 else "HTTP/1.1")
        push(session, "a/b", content)
        assert pull(session, "a/b") == content


def test_clients_are_sent_to_log_in_over_tls(
    start: Start, settings: dict[str, object], trust: ssl.SSLContext, tmp_path: Path
) -> None:
    """The challenge names the token endpoint by https, and the login and its token work there."""
    login = {"auth.htpasswd": make_htpasswd(tmp_path / "htpasswd"), "auth.challenge": "bearer"}
    server = start({**settings, **login})
    with httpx2.Client(base_url=server.url, verify=trust) as session:
        answer = session.get("/v2/")
        assert answer.status_code == 401
        assert f'realm="{server.url}/auth/token"' in answer.headers["www-authenticate"]
        token = session.get("/auth/token", auth=("ann", PASSWORDS["ann"])).json()["token"]
        assert session.get("/v2/", headers={"Authorization": f"Bearer {token}"}).status_code == 200


def test_transfers_go_on_across_a_renewal(
    start: Start, authority: Authority, settings: dict[str, object], trust: ssl.SSLContext, tmp_path: Path
) -> None:
    """A download and an upload of 100 MiB that began with the old certificate end with it, whole."""
    server = start(settings)
    content = random.Random(8).randbytes(LARGE)
    with httpx2.Client(base_url=server.url, verify=trust, timeout=60) as session:
        push(session, "a/b", content)
        location = session.post("/v2/a/c/blobs/uploads/").headers["location"]
    renewed = threading.Event()

    def slowly() -> Iterator[bytes]:
        """The first half, and the rest when the certificate is another."""
        yield content[: LARGE // 2]
        new = authority.issue()
        new.write(tmp_path / "certificate", tmp_path / "key")
        server.process.send_signal(signal.SIGHUP)
        host, _, port = server.host.partition(":")
        until(
            lambda: all(
                ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate((host, int(port))))
                == ssl.PEM_cert_to_DER_cert(new.pem.decode())
                for _ in range(10)
            )
        )
        renewed.set()
        yield content[LARGE // 2 :]

    with httpx2.Client(base_url=server.url, verify=trust, timeout=60) as session:
        url = f"/v2/a/b/blobs/{digest_of(content)}"
        with session.stream("GET", url) as download:
            pieces = download.iter_bytes()
            seen = hashlib.sha256(next(pieces))
            answer = session.put(location, params={"digest": digest_of(content)}, content=slowly())
            assert answer.status_code == 201
            assert renewed.is_set()
            for piece in pieces:
                seen.update(piece)
        assert f"sha256:{seen.hexdigest()}" == digest_of(content)
    assert server.log.count("new connections get the new certificate") == 1


def test_a_client_without_a_certificate_is_kept_out(
    start: Start, authority: Authority, settings: dict[str, object], trust: ssl.SSLContext, tmp_path: Path
) -> None:
    """Where clients must have a certificate nobody else gets as far as a request."""
    server = start({**settings, "tls.client_ca": tmp_path / "authority"})
    with pytest.raises((httpx2.ReadError, httpx2.ConnectError)):
        httpx2.get(f"{server.url}/v2/", verify=trust)
    authority.issue("ci", usage=CLIENT).write(tmp_path / "client", tmp_path / "client-key")
    trust.load_cert_chain(tmp_path / "client", tmp_path / "client-key")
    assert httpx2.get(f"{server.url}/v2/", verify=trust).status_code == 200


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ({"tls.key": "missing"}, "tls.key: cannot read missing"),
        ({"tls.certificate": "pyproject.toml"}, "tls.certificate: pyproject.toml holds no certificate"),
    ],
)
def test_what_cannot_be_served_is_said(
    settings: dict[str, object], tmp_path: Path, broken: dict[str, object], words: str
) -> None:
    """A word about the setting and its file on stderr, and exit code 1."""
    given = {**settings, **broken, "port": 0, "storage.path": tmp_path / "data"}
    options = [word for name, value in given.items() for word in ("--set", f"{name}={value}")]
    program = str(Path(sys.executable).parent / "cargohold")
    done = subprocess.run(
        [program, "serve", *options], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"cargohold: {words}")
    assert done.stderr.count("\n") == 1


def test_the_redirect_says_where_it_is(
    start: Start, settings: dict[str, object], trust: ssl.SSLContext
) -> None:
    """The log names its address, also where the kernel chose the port, and it leads to the registry."""
    server = start({**settings, "tls.redirect_port": 0})
    found = re.search(rf"(http://127\.0\.0\.1:\d+) is sent to {server.url}", server.log)
    assert found is not None, server.log
    with httpx2.Client(verify=trust, follow_redirects=True) as session:
        answer = session.get(f"{found[1]}/v2/")
    assert (str(answer.url), answer.status_code) == (f"{server.url}/v2/", 200)


def test_memory_when_idle(start: Start, settings: dict[str, object], trust: ssl.SSLContext) -> None:
    """All processes together stay within the 50 MB that the registry may take without TLS."""
    server = start({**settings, "workers": 2})
    for _ in range(10):
        assert httpx2.get(f"{server.url}/v2/", verify=trust).json() == {}
    assert proportional_bytes(server) < 50_000_000, json.dumps(proportional_bytes(server))


def test_the_examples_of_the_page(tmp_path: Path) -> None:
    """Each is a file of settings that the registry takes."""
    for number, example in enumerate(blocks(PAGE.read_text(), "yaml")):
        file = tmp_path / f"{number}.yaml"
        file.write_text(example)
        assert load({"config": str(file)}, {}).tls.certificate == "/etc/cargohold/certificate.pem"
