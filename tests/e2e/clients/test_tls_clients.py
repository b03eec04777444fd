"""Clients over TLS, each with the authority and the client's certificate where it looks for them."""

from __future__ import annotations

import shutil
import ssl
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import pytest

from tests.certificates import CLIENT, Authority
from tests.e2e.clients.absence import require, require_root
from tests.e2e.clients.engine import clear, containerd_engine, docker_engine
from tests.e2e.clients.images import Layout, packed
from tests.e2e.clients.repository import Repository
from tests.e2e.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.e2e.clients.program import Client

pytestmark = pytest.mark.clients


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the names that docker and podman give to what is in a folder of certificates."""
    folder = tmp_path_factory.mktemp("certificates")
    authority = Authority().write(folder / "ca.crt")
    authority.issue().write(folder / "server.pem", folder / "server-key.pem")
    authority.issue("ci", usage=CLIENT).write(folder / "client.cert", folder / "client.key")
    return folder


@pytest.fixture(scope="module")
def registry(folder: Path) -> Iterator[Server]:
    """A server that wants a certificate of its clients."""
    tls = {"certificate": "server.pem", "key": "server-key.pem", "client_ca": "ca.crt"}
    server = Server(folder / "data", {f"tls.{name}": folder / file for name, file in tls.items()})
    yield server
    assert server.stop() == 0
    assert len(server.log.splitlines()) == 1, server.log


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


def test_docker(
    certificates: Path, repository: Repository, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    """The engine finds its certificate in /etc/docker/certs.d/HOST:PORT; without it the registry refuses it."""
    place = Path("/etc/docker/certs.d") / repository.host
    name = f"{repository}:v1"
    (tmp_path / "archive").write_bytes(packed({"file": b"content"}))
    with docker_engine(tmp_path_factory.mktemp("docker")) as docker:
        docker("import", tmp_path / "archive", name)
        docker.refused("push", name)
        shutil.copytree(certificates, place)
        try:
            docker("push", name)
            assert repository.is_whole("v1")
            docker("image", "prune", "--all", "--force")
            assert f"Digest: {repository.manifest('v1').digest}" in docker("pull", name)
        finally:
            shutil.rmtree(place)


@pytest.mark.parametrize("program", ["skopeo", "buildah", "podman"])
def test_podman_and_its_family(  # noqa: PLR0913, PLR0917 - fixtures
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
    stored = (f"--root={folder}/root", f"--runroot={folder}/run", "--storage-driver=vfs")
    calls = {
        "skopeo": (
            ("copy", f"--dest-cert-dir={certificates}", f"oci:{image.path}:it", f"docker://{repository}:v1"),
            ("inspect", f"--cert-dir={certificates}", f"docker://{repository}:v1"),
            ("inspect", f"docker://{repository}:v1"),
        ),
        "buildah": (
            ("push", f"--cert-dir={certificates}", "image", f"docker://{repository}:v1"),
            ("pull", f"--cert-dir={certificates}", f"docker://{repository}:v1"),
            ("pull", f"docker://{repository}:v1"),
        ),
        "podman": (
            ("push", f"--cert-dir={certificates}", "image", f"docker://{repository}:v1"),
            ("pull", f"--cert-dir={certificates}", f"docker://{repository}:v1"),
            ("pull", f"docker://{repository}:v1"),
        ),
    }
    ways = {
        "skopeo": ("--insecure-policy",),
        "buildah": stored,
        "podman": (*stored, f"--tmpdir={folder}/tmp", "--cgroup-manager=cgroupfs", "--events-backend=none"),
    }
    run = client(program, *ways[program])
    push, pull, distrust = calls[program]
    if program != "skopeo":
        name = run("pull", f"oci:{image.path}:it").splitlines()[-1]
        run("tag", name, "image")
    run(*push)
    assert repository.is_whole("v1")
    run(*pull)
    assert "certificate" in run.refused(*distrust)
    clear(folder)


def test_podman_finds_the_folder_by_itself(
    client: Callable[..., Client], certificates: Path, image: Layout, repository: Repository
) -> None:
    """Certificates in /etc/containers/certs.d/HOST:PORT need no option."""
    require_root()
    place = Path("/etc/containers/certs.d") / repository.host
    shutil.copytree(certificates, place)
    try:
        client("skopeo", "--insecure-policy")("copy", f"oci:{image.path}:it", f"docker://{repository}:v1")
    finally:
        shutil.rmtree(place)
    assert repository.is_whole("v1")


def test_containerd(
    certificates: Path, repository: Repository, runnable: Layout, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """`ctr` is given the files one by one."""
    repository.push(runnable, "v1")
    files = (f"--tlscacert={certificates}/ca.crt", f"--tlscert={certificates}/client.cert")
    with containerd_engine(tmp_path_factory.mktemp("containerd")) as ctr:
        ctr("images", "pull", *files, f"--tlskey={certificates}/client.key", f"{repository}:v1")
        ctr("images", "tag", f"{repository}:v1", f"{repository}:v2")
        ctr("images", "push", *files, f"--tlskey={certificates}/client.key", f"{repository}:v2")
    assert repository.manifest("v2").content == runnable.content


def test_oras(
    client: Callable[..., Client], certificates: Path, repository: Repository, tmp_path: Path
) -> None:
    """oras has an option for each file."""
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
    """regctl keeps the contents of the files in its configuration."""
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
    """crane trusts the system's authorities, and SSL_CERT_FILE; it has no certificate of its own, and needs none."""
    require("crane")
    crane = client("crane", SSL_CERT_FILE=str(folder / "ca.crt"))
    crane("push", image.path, f"{asking.host}/app:v1")
    assert crane("digest", f"{asking.host}/app:v1") == image.digest
    assert "certificate" in client("crane").refused("digest", f"{asking.host}/app:v1")
