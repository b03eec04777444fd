"""Clients behind the proxies of the page push, pull and log in, and the proxies keep nothing back."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import socket
import ssl
import stat
import subprocess
import time
from typing import TYPE_CHECKING

import httpx2
import pytest
import yaml

from tests.certificates import Authority
from tests.cli.test_command import CLEAN, SCRIPT
from tests.docs.blocks import blocks_of, text_of
from tests.docs.proxying import NAME, PAGE, TRAEFIK, running, section
from tests.docs.session import Session
from tests.e2e.clients.absence import require
from tests.e2e.clients.guarded import PASSWORDS, make_htpasswd
from tests.e2e.clients.images import make_image
from tests.e2e.clients.program import Client
from tests.http.serving import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.docs.proxying import Proxy
    from tests.e2e.conftest import Start
    from tests.e2e.server import Server

MIB = 1 << 20
LAYER = 200 * MIB
SOME = 120 * MIB
HELD_AT_MOST = 60 * MIB  # what connections and their buffers may take: far from a layer
LOGIN = ("ann", PASSWORDS["ann"])
SETTINGS, ACCEL, PUBLIC, SOCKET = (block for block in blocks_of(PAGE, "yaml") if block.first not in TRAEFIK)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With the proxy's certificate, and the authority that clients trust."""
    authority = Authority().write(tmp_path / "ca.crt")
    authority.issue(NAME).write(tmp_path / "fullchain.pem", tmp_path / "privkey.pem")
    return tmp_path


@pytest.fixture
def server(start: Start, tmp_path: Path) -> Server:
    """The page's registry, asking for tokens, whose realm has to come out right."""
    settings = yaml.safe_load(SETTINGS.text)
    assert settings.pop("port") == 5000
    assert settings["auth"].pop("htpasswd") == "/etc/cargohold/users"
    return start(
        {
            "host": settings.pop("host"),
            "auth.htpasswd": make_htpasswd(tmp_path / "users"),
            "auth.challenge": "bearer",
            "server.trusted_proxies": json.dumps(settings["server"]["trusted_proxies"]),
            "limits.failed_logins": "3/day",
        }
    )


# Debian has no Traefik, and to compile it takes longer than all tests together.
WITHOUT_TRAEFIK = pytest.mark.skipif(shutil.which("traefik") is None, reason="traefik is not on PATH")


@pytest.fixture(params=["nginx", "caddy", pytest.param("traefik", marks=WITHOUT_TRAEFIK)])
def proxy(request: pytest.FixtureRequest, folder: Path, server: Server) -> Iterator[Proxy]:
    with running(request.param, folder, server.host) as one:
        yield one


@pytest.fixture
def client(proxy: Proxy, folder: Path) -> Iterator[httpx2.Client]:
    context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    with httpx2.Client(base_url=f"https://{proxy.host}", verify=context, timeout=30, auth=LOGIN) as one:
        yield one


def connected(proxy: Proxy, folder: Path) -> ssl.SSLSocket:
    """A connection to a proxy, over which a test sends and takes as much as it will."""
    context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    wire = socket.create_connection(("127.0.0.1", proxy.port), timeout=30)
    return context.wrap_socket(wire, server_hostname=NAME)


def head(method: str, target: str, proxy: Proxy, header: str) -> bytes:
    """The beginning of a request with a login."""
    login = base64.b64encode(":".join(LOGIN).encode()).decode()
    lines = (f"{method} {target} HTTP/1.1", f"Host: {proxy.host}", f"Authorization: Basic {login}", header)
    return "\r\n".join([*lines, "", ""]).encode()


def pauses(seconds: float) -> Iterator[None]:
    """A tenth of a second again and again, for so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.1)
        yield


@pytest.mark.clients
def test_push_and_pull(proxy: Proxy, folder: Path) -> None:
    """A client logs in by the proxy's address, pushes and pulls; what it pulls is what it pushed."""
    image = make_image(folder / "app", [{"one": os.urandom(9 * MIB)}, {"two": b"the second"}])
    environment = {"HOME": str(folder), "REGISTRY_AUTH_FILE": str(folder / "auth.json")}
    skopeo = Client(require("skopeo"), environment=environment)
    skopeo(
        "login",
        f"--cert-dir={folder}",
        "--username=ann",
        "--password-stdin",
        proxy.host,
        given=LOGIN[1].encode(),
    )
    place = f"docker://{proxy.host}/team/app:v1"
    skopeo("copy", f"--dest-cert-dir={folder}", f"oci:{image.path}:it", place)
    skopeo("copy", f"--src-cert-dir={folder}", "--preserve-digests", place, f"oci:{folder}/pulled:it")
    assert set(image.blobs) == {f"sha256:{path.name}" for path in (folder / "pulled/blobs/sha256").iterdir()}


def test_who_asks_is_known(client: httpx2.Client, proxy: Proxy) -> None:
    """The realm is the address that the client used; a client cannot pass for another by headers of its own."""
    challenge = client.get("/v2/", auth=None).headers["www-authenticate"]
    assert f'realm="https://{proxy.host}/auth/token"' in challenge
    forged = {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "http"}
    assert client.get("/v2/", auth=None, headers=forged).headers["www-authenticate"] == challenge
    wrong = [
        client.get(
            "/v2/", auth=("ann", f"wrong {number}"), headers={"X-Forwarded-For": f"192.0.2.{number}"}
        ).status_code
        for number in range(5)
    ]
    assert wrong == [401, 401, 401, 429, 429]


def test_nothing_is_held_back(client: httpx2.Client, proxy: Proxy, server: Server, folder: Path) -> None:
    """Of a layer that is still being sent the registry has what was sent; what is not read yet is not fetched yet."""
    content = os.urandom(LAYER)
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    idle = proxy.held()
    location = client.post("/v2/team/app/blobs/uploads/").headers["location"]
    (session,) = server.storage.glob("**/_uploads/*")
    with connected(proxy, folder) as wire:
        wire.sendall(head("PUT", f"{location}?digest={digest}", proxy, f"Content-Length: {LAYER}"))
        wire.sendall(content[:SOME])
        until(lambda: (session / "data").stat().st_size > SOME - HELD_AT_MOST)
        assert proxy.held() < idle + HELD_AT_MOST
        wire.sendall(content[SOME:])
        assert wire.recv(12) == b"HTTP/1.1 201"
    with connected(proxy, folder) as wire:
        wire.sendall(head("GET", f"/v2/team/app/blobs/{digest}", proxy, "Connection: close"))
        answer = bytearray(wire.recv(MIB))
        assert max(proxy.held() for _ in pauses(2)) < idle + HELD_AT_MOST
        while read := wire.recv(MIB):
            answer += read
    assert bytes(answer).partition(b"\r\n\r\n")[2] == content


def test_the_files_of_traefik_fit() -> None:
    """The file that Traefik starts with names the other, whose router leads from its entry point to the registry."""
    started, routed = (yaml.safe_load(block.text) for block in section("Traefik"))
    assert routed["http"]["routers"]["registry"]["entryPoints"] == list(started["entryPoints"])
    assert started["entryPoints"]["websecure"]["transport"] == {"respondingTimeouts": {"readTimeout": 0}}
    balancer = routed["http"]["services"][routed["http"]["routers"]["registry"]["service"]]["loadBalancer"]
    settings = yaml.safe_load(SETTINGS.text)
    assert balancer["servers"] == [{"url": f"http://{settings['host']}:{settings['port']}"}]
    assert balancer["serversTransport"] in routed["http"]["serversTransports"]


def test_where_clients_are_sent(start: Start, tmp_path: Path) -> None:
    """The page's command shows where clients ask for tokens, which is below the public address where one is set."""
    users = make_htpasswd(tmp_path / "users")
    (shown,) = blocks_of(PAGE, "console")
    with Session(tmp_path) as session:
        session.serve("cargohold serve --set auth.htpasswd=users --set auth.challenge=bearer")
        session.type(shown)
    address = yaml.safe_load(PUBLIC.text)["server"]["public_url"]
    server = start({"auth.htpasswd": users, "auth.challenge": "bearer", "server.public_url": address})
    challenge = httpx2.get(f"{server.url}/v2/", timeout=30).headers["www-authenticate"]
    assert f'realm="{address}/auth/token"' in challenge


@pytest.mark.parametrize(
    ("program", "by_port", "by_socket"),
    [
        ("nginx", "proxy_pass http://REGISTRY;", "proxy_pass http://unix:/run/cargohold/socket;"),
        ("caddy", "reverse_proxy REGISTRY", "reverse_proxy unix//run/cargohold/socket"),
    ],
)
def test_socket(folder: Path, program: str, by_port: str, by_socket: str) -> None:
    """With the words of the page a proxy comes by the Unix socket, which a umask of 007 opens to its group."""
    assert f"`{by_socket}`" in text_of(PAGE)
    make_htpasswd(folder / "users")
    place = f"{folder}/socket"
    settings = SOCKET.text.replace("/run/cargohold/socket", place).replace("/etc/cargohold", str(folder))
    (folder / "registry.yaml").write_text(f"{settings}storage:\n  path: {folder}/data\n")
    command = ["sh", "-c", f"umask 007; exec {SCRIPT} serve --config {folder}/registry.yaml"]
    with subprocess.Popen(command, env=CLEAN, stderr=subprocess.DEVNULL) as server:
        try:
            until(lambda: os.path.exists(place))
            assert stat.S_IMODE(os.stat(place).st_mode) == 0o770
            change = (by_port, by_socket.replace("/run/cargohold/socket", place))
            with running(program, folder, "REGISTRY", change) as proxy:
                context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
                address = f"https://{proxy.host}/v2/"
                assert httpx2.get(address, verify=context, auth=LOGIN, timeout=30).status_code == 200
        finally:
            server.terminate()
            assert server.wait(60) == 0


class Sender:
    """A client behind nginx that sends blobs by itself, and one that asks the registry directly."""

    def __init__(self, client: httpx2.Client, server: Server) -> None:
        self.client = client
        self.content = os.urandom(2 * MIB)
        self.digest = f"sha256:{hashlib.sha256(self.content).hexdigest()}"
        self.path = f"/v2/team/app/blobs/{self.digest}"
        self.direct = f"{server.url}{self.path}"

    def push(self) -> None:
        answer = self.client.post(f"/v2/team/app/blobs/uploads/?digest={self.digest}", content=self.content)
        assert answer.status_code == 201

    def get(self, **headers: str) -> httpx2.Response:
        """The blob, or what the headers ask for."""
        return self.client.get(
            self.path, headers={name.replace("_", "-"): it for name, it in headers.items()}
        )


@pytest.fixture
def sender(start: Start, folder: Path) -> Iterator[Sender]:
    """With the words of the page."""
    (location,) = (block.text for block in blocks_of(PAGE, "nginx") if "internal;" in block.text)
    server = yaml.safe_load(ACCEL.text)["server"]
    registry = start(
        {
            "auth.htpasswd": make_htpasswd(folder / "users"),
            "server.trusted_proxies": json.dumps(server["trusted_proxies"]),
            "server.accel_redirect": server["accel_redirect"],
        }
    )
    location = location.replace("/var/lib/cargohold", str(registry.storage))
    beside = "    location / {"
    with running("nginx", folder, registry.host, (beside, f"{location}\n{beside}")) as proxy:
        context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
        with httpx2.Client(
            base_url=f"https://{proxy.host}", verify=context, timeout=30, auth=LOGIN
        ) as client:
            one = Sender(client, registry)
            one.push()
            yield one


def test_nginx_sends_the_blob(sender: Sender) -> None:
    """Byte for byte what was pushed, by nginx, with the headers that the registry gives who asks it directly."""
    answer, direct = sender.get(), httpx2.get(sender.direct, auth=LOGIN, timeout=30)
    assert answer.status_code == direct.status_code == 200
    assert answer.content == direct.content == sender.content
    assert "last-modified" in answer.headers  # which the registry never says
    assert "x-accel-redirect" not in answer.headers
    assert "x-accel-redirect" not in direct.headers
    for name in (
        "docker-content-digest",
        "docker-distribution-api-version",
        "etag",
        "content-type",
        "content-length",
        "cache-control",
        "accept-ranges",
        "vary",
    ):
        assert answer.headers.get_list(name) == direct.headers.get_list(name), name
    assert answer.headers["x-request-id"]


def test_nginx_sends_parts(sender: Sender) -> None:
    """As the registry does: one range, from the start, the end or between; several are answered with the whole."""
    size = len(sender.content)
    for asked, start, stop in (
        ("bytes=0-0", 0, 1),
        ("bytes=70000-1070000", 70_000, 1_070_001),
        ("bytes=100-", 100, size),
        ("bytes=-70000", size - 70_000, size),
        (f"bytes=5-{2 * size}", 5, size),
    ):
        answer = sender.get(Range=asked)
        assert answer.status_code == 206
        assert answer.content == sender.content[start:stop]
        assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{size}"
        assert answer.headers["docker-content-digest"] == sender.digest
    several = sender.get(Range="bytes=0-1,9-10")
    assert (several.status_code, several.content) == (200, sender.content)
    beyond = sender.get(Range=f"bytes={size}-")
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{size}")


def test_conditions_before_nginx_that_sends(sender: Sender) -> None:
    """304 where the client has the blob; a part only of the entity that the client has a part of."""
    tag = f'"{sender.digest}"'
    assert sender.get().headers["etag"] == tag
    known = sender.get(If_None_Match=tag)
    assert (known.status_code, known.content) == (304, b"")
    assert known.headers["docker-content-digest"] == sender.digest
    part = sender.get(Range="bytes=0-99999", If_Range=tag)
    assert (part.status_code, part.content) == (206, sender.content[:100_000])
    whole = sender.get(Range="bytes=0-99999", If_Range='"another"')
    assert (whole.status_code, whole.content) == (200, sender.content)


def test_what_nginx_does_not_send(sender: Sender) -> None:
    """Who may pull is decided as ever; what is missing is told as ever; nobody gets at the files without asking."""
    head = sender.client.head(sender.path)
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(sender.content)))
    missing = sender.client.get(f"/v2/team/app/blobs/sha256:{'0' * 64}")
    assert (missing.status_code, missing.json()["errors"][0]["code"]) == (404, "BLOB_UNKNOWN")
    other = sender.client.get(sender.path.replace("team/app", "team/other"))
    assert other.status_code == 404
    assert sender.client.get(sender.path, auth=None).status_code == 401
    encoded = sender.digest.removeprefix("sha256:")
    file = f"/internal/docker/registry/v2/blobs/sha256/{encoded[:2]}/{encoded}/data"
    refused = sender.client.get(file)
    assert refused.status_code == 404
    assert refused.content != sender.content
