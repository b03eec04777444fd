"""Clients over TLS, each with the authority and the client's certificate where it looks for them."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import socketserver
import ssl
import subprocess
import threading
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import pytest

from tests.certificates import CLIENT, Authority
from tests.config.test_pages import blocks
from tests.e2e.clients.absence import require, require_root
from tests.e2e.clients.engine import clear, containerd_engine, docker_engine
from tests.e2e.clients.guarded import guarded
from tests.e2e.clients.images import Layout, packed
from tests.e2e.clients.repository import Repository
from tests.e2e.server import Server
from tests.http.serving import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.e2e.clients.program import Client

pytestmark = pytest.mark.clients

DISTANT = "registry.test"
PAGE = Path(__file__).parents[3] / "docs/tls.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the names that docker and podman give to what is in a folder of certificates."""
    folder = tmp_path_factory.mktemp("certificates")
    authority = Authority().write(folder / "ca.crt")
    authority.issue(DISTANT).write(folder / "server.pem", folder / "server-key.pem")
    for name, file in (("ci", "client"), ("other", "other")):
        authority.issue(name, usage=CLIENT).write(folder / f"{file}.cert", folder / f"{file}.key")
    return folder


@pytest.fixture(scope="module")
def registry(folder: Path) -> Iterator[Server]:
    """A server that wants a certificate of its clients."""
    tls = {"certificate": "server.pem", "key": "server-key.pem", "client_ca": "ca.crt"}
    server = Server(folder / "data", {f"tls.{name}": folder / file for name, file in tls.items()})
    yield server
    assert server.stop() == 0
    assert {json.loads(line)["level"] for line in server.log.splitlines()} == {"INFO"}, server.log


@pytest.fixture
def repository(registry: Server, folder: Path) -> Iterator[Repository]:
    """A repository that no other test uses."""
    context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    context.load_cert_chain(folder / "client.cert", folder / "client.key")
    with httpx2.Client(base_url=registry.url, verify=context, timeout=60) as session:
        yield Repository(session, f"clients/{uuid.uuid4().hex}")


@pytest.fixture
def certificates(folder: Path, tmp_path: Path) -> Path:
    """A folder with no more than a client is to have."""
    mine = tmp_path / "certs.d"
    mine.mkdir()
    for name in ("ca.crt", "client.cert", "client.key"):
        shutil.copy(folder / name, mine)
    return mine


@contextlib.contextmanager
def installed(certificates: Path, place: Path) -> Iterator[None]:
    """The folder is in a place of the system for the time of the block."""
    shutil.copytree(certificates, place)
    try:
        yield
    finally:
        shutil.rmtree(place)
        with contextlib.suppress(OSError):  # others are there
            place.parent.rmdir()


class Tunnel(socketserver.StreamRequestHandler):
    """A proxy for HTTPS that has one destination, whatever name it is asked for."""

    destination: str

    def handle(self) -> None:
        while self.rfile.readline().strip():
            pass
        host, _, port = self.destination.partition(":")
        with socket.create_connection((host, int(port)), timeout=60) as server:
            self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            answers = threading.Thread(target=relay, args=(server, self.connection))
            answers.start()
            relay(self.connection, server)
            answers.join()


def relay(source: socket.socket, sink: socket.socket) -> None:
    """Hand on all that comes, and then the end."""
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


@pytest.fixture
def distant(registry: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A name for the registry that programs reach by a proxy: of loopback docker's engine verifies nothing."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Tunnel) as proxy:
        Tunnel.destination = registry.host
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        for name in ("HTTPS_PROXY", "https_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.server_address[1]}")
        yield f"{DISTANT}:5000"
        proxy.shutdown()


def test_docker(
    certificates: Path,
    distant: str,
    repository: Repository,
    tmp_path_factory: pytest.TempPathFactory,
    tmp_path: Path,
) -> None:
    """The engine finds what it needs in /etc/docker/certs.d/HOST:PORT, and without it does not trust the server."""
    place = Path("/etc/docker/certs.d") / distant
    name = f"{distant}/{repository.name}:v1"
    (tmp_path / "archive").write_bytes(packed({"file": b"content"}))
    with docker_engine(tmp_path_factory.mktemp("docker")) as docker:
        docker("import", tmp_path / "archive", name)
        assert "certificate signed by unknown authority" in docker.refused("push", name)
        with installed(certificates, place):
            docker("push", name)
            assert repository.is_whole("v1")
            docker("image", "prune", "--all", "--force")
            assert f"Digest: {repository.manifest('v1').digest}" in docker("pull", name)
            (place / "client.cert").unlink()
            (place / "client.key").unlink()
            assert "certificate required" in docker.refused("pull", name)


@pytest.mark.parametrize("program", ["buildah", "podman"])
def test_podman_and_buildah(  # noqa: PLR0913, PLR0917 - fixtures
    client: Callable[..., Client],
    program: str,
    certificates: Path,
    image: Layout,
    repository: Repository,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """With `--cert-dir` an image goes up and comes down; without it the server is not trusted."""
    require_root()
    folder = tmp_path_factory.mktemp(program)  # its name must be short
    run = client(program, f"--root={folder}/root", f"--runroot={folder}/run", "--storage-driver=vfs")
    run("tag", run("pull", f"oci:{image.path}:it").splitlines()[-1], f"{repository}:v1")
    assert "certificate" in run.refused("push", f"{repository}:v1")
    run("push", f"--cert-dir={certificates}", f"{repository}:v1")
    assert repository.is_whole("v1")
    run("rmi", "--all", "--force")
    run("pull", f"--cert-dir={certificates}", f"{repository}:v1")
    clear(folder)


def test_skopeo(
    client: Callable[..., Client], certificates: Path, image: Layout, repository: Repository, tmp_path: Path
) -> None:
    """So it is with skopeo."""
    skopeo = client("skopeo", "--insecure-policy")
    place = f"docker://{repository}:v1"
    assert "certificate" in skopeo.refused("copy", f"oci:{image.path}:it", place)
    skopeo("copy", "--all", f"--dest-cert-dir={certificates}", f"oci:{image.path}:it", place)
    assert repository.is_whole("v1")
    skopeo("copy", "--all", f"--src-cert-dir={certificates}", place, f"oci:{tmp_path / 'pulled'}:it")
    assert Layout(tmp_path / "pulled").digest == repository.manifest("v1").digest


def test_the_folder_of_podman_is_found_without_an_option(
    client: Callable[..., Client], certificates: Path, image: Layout, repository: Repository
) -> None:
    """Certificates in /etc/containers/certs.d/HOST:PORT need no option."""
    require_root()
    place = Path("/etc/containers/certs.d") / repository.host
    with installed(certificates, place):
        client("skopeo", "--insecure-policy")("copy", f"oci:{image.path}:it", f"docker://{repository}:v1")
    assert repository.is_whole("v1")


def test_containerd(
    certificates: Path, repository: Repository, runnable: Layout, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A folder for the host says that 127.0.0.1 is not plain HTTP, and with which certificates."""
    repository.push(runnable, "v1")
    (certificates / repository.host).mkdir()
    (certificates / repository.host / "hosts.toml").write_text(
        f'[host."https://{repository.host}"]\n'
        f'ca = "{certificates}/ca.crt"\n'
        f'client = [["{certificates}/client.cert", "{certificates}/client.key"]]\n'
    )
    hosts = f"--hosts-dir={certificates}"
    with containerd_engine(tmp_path_factory.mktemp("containerd")) as ctr:
        ctr("images", "pull", hosts, f"{repository}:v1")
        ctr("images", "tag", f"{repository}:v1", f"{repository}:v2")
        ctr("images", "push", hosts, f"{repository}:v2")
    assert repository.manifest("v2").content == runnable.content


def test_oras(
    client: Callable[..., Client], certificates: Path, repository: Repository, tmp_path: Path
) -> None:
    """Oras has an option for each file."""
    (tmp_path / "notes.txt").write_text("notes")
    files = [f"--ca-file={certificates}/ca.crt", f"--cert-file={certificates}/client.cert"]
    files += [f"--key-file={certificates}/client.key"]
    oras = client("oras")
    oras("push", *files, "--disable-path-validation", f"{repository}:v1", f"{tmp_path}/notes.txt:text/plain")
    assert repository.is_whole("v1")
    oras("pull", *files, f"--output={tmp_path / 'pulled'}", "--allow-path-traversal", f"{repository}:v1")


def test_helm(
    client: Callable[..., Client], certificates: Path, repository: Repository, tmp_path: Path
) -> None:
    """So has helm."""
    helm = client("helm")
    helm("create", tmp_path / "app")
    helm("package", tmp_path / "app", "--version=1.0.0", f"--destination={tmp_path}")
    files = [f"--ca-file={certificates}/ca.crt", f"--cert-file={certificates}/client.cert"]
    files += [f"--key-file={certificates}/client.key"]
    helm("push", *files, tmp_path / "app-1.0.0.tgz", f"oci://{repository}")
    assert repository.below("app").is_whole("1.0.0")
    helm("pull", *files, f"oci://{repository}/app", "--version=1.0.0", f"--destination={tmp_path / 'home'}")


def test_regctl(
    client: Callable[..., Client], certificates: Path, image: Layout, repository: Repository
) -> None:
    """Regctl keeps the contents of the files in its configuration."""
    regctl = client("regctl")
    texts = {name: (certificates / name).read_text() for name in ("ca.crt", "client.cert", "client.key")}
    given = [f"--cacert={texts['ca.crt']}", f"--client-cert={texts['client.cert']}"]
    regctl("registry", "set", *given, f"--client-key={texts['client.key']}", repository.host)
    regctl("image", "copy", f"ocidir://{image.path}:it", f"{repository}:v1")
    assert repository.is_whole("v1")


@pytest.fixture
def asking(folder: Path, tmp_path: Path) -> Iterator[Server]:
    """A server that asks its clients for a certificate and goes on without."""
    tls = {"certificate": "server.pem", "key": "server-key.pem", "client_ca": "ca.crt"}
    settings = {f"tls.{name}": str(folder / file) for name, file in tls.items()}
    server = Server(tmp_path / "data", {**settings, "tls.client_certificates": "request"})
    yield server
    assert server.stop() == 0


def test_crane(client: Callable[..., Client], folder: Path, asking: Server, image: Layout) -> None:
    """Crane trusts the system's authorities, and SSL_CERT_FILE; it has no certificate of its own, and needs none."""
    crane = client("crane", SSL_CERT_FILE=str(folder / "ca.crt"))
    crane("push", image.path, f"{asking.host}/app:v1")
    assert crane("digest", f"{asking.host}/app:v1") == image.digest
    assert "certificate" in client("crane").refused("digest", f"{asking.host}/app:v1")


@pytest.fixture
def nginx(folder: Path, tmp_path: Path) -> Iterator[str]:
    """The page's proxy before a registry with users, with its paths and ports replaced; gives its address."""
    (example,) = blocks(PAGE.read_text(), "nginx")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    names = {"certificate.pem": "server.pem", "key.pem": "server-key.pem", "clients.pem": "ca.crt"}
    for name, file in names.items():
        example = example.replace(f"/etc/cargohold/{name}", str(folder / file))
    with guarded(tmp_path, {"auth.challenge": "basic", "server.trusted_proxies": '["127.0.0.1"]'}) as server:
        example = example.replace("127.0.0.1:5000", server.host).replace(
            "listen 443", f"listen 127.0.0.1:{port}"
        )
        (tmp_path / "logs").mkdir()
        (tmp_path / "nginx.conf").write_text(
            f"daemon off; pid {tmp_path}/pid; error_log {tmp_path}/logs/error;"
            f" events {{}} http {{ access_log off; client_body_temp_path {tmp_path}/body; {example} }}"
        )
        command = [require("nginx"), "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")]
        with subprocess.Popen(command) as proxy:
            try:
                until(lambda: listens(port))
                yield f"https://127.0.0.1:{port}"
            finally:
                proxy.terminate()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_proxy_makes_a_login_of_a_certificate(nginx: str, folder: Path, image: Layout) -> None:
    """The page's nginx logs in who has the certificate that it names; another good one is asked to log in."""
    context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    assert httpx2.get(f"{nginx}/v2/", verify=context).status_code == 400
    context.load_cert_chain(folder / "other.cert", folder / "other.key")
    assert httpx2.get(f"{nginx}/v2/", verify=context).status_code == 401
    context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    context.load_cert_chain(folder / "client.cert", folder / "client.key")
    with httpx2.Client(base_url=nginx, verify=context) as session:
        repository = Repository(session, "team/app")
        repository.push(image, "v1")
        assert repository.is_whole("v1")
