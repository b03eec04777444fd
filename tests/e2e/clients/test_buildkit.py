"""BuildKit: builds that push, and a cache of builds in the registry."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.clients.absence import require, require_root
from tests.e2e.clients.engine import running
from tests.e2e.clients.guarded import PASSWORDS, guarded
from tests.e2e.clients.guarded import repository as signed_in
from tests.e2e.clients.program import Client
from tests.e2e.clients.repository import OCI_INDEX, OCI_MANIFEST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.e2e.clients.repository import Repository

pytestmark = pytest.mark.clients

HTTP = "registry.insecure=true"


@pytest.fixture(scope="module")
def buildctl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A BuildKit with a root and a socket of its own, which copies files instead of mounting layers."""
    require_root()
    require("runc")
    folder = tmp_path_factory.mktemp("buildkit")
    (folder / "buildkitd.toml").write_text("")
    address = f"--addr=unix://{folder}/socket"
    worker = ("--containerd-worker=false", "--oci-worker-snapshotter=native", "--oci-worker-net=host")
    places = (f"--config={folder}/buildkitd.toml", f"--root={folder}/root", address)
    client = Client(require("buildctl"), (address,), {"HOME": str(folder)})
    with running((require("buildkitd"), *places, *worker), folder, client, "debug", "workers"):
        yield client


@pytest.fixture
def context(busybox: bytes, repository: Repository, tmp_path: Path) -> Path:
    """What is built: two stages, of which the first is in no image, only in a cache of mode `max`."""
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "busybox").write_bytes(busybox)
    (folder / "busybox").chmod(0o755)
    run = 'RUN ["/bin/busybox", "sh", "-c",'
    (folder / "Dockerfile").write_text(
        "FROM scratch AS first\n"
        "COPY busybox /bin/busybox\n"
        f'{run} "/bin/busybox date +%s%N > /moment; echo {repository.name} >> /moment"]\n'
        "FROM scratch\n"
        "COPY busybox /bin/busybox\n"
        "COPY --from=first /moment /moment\n"
    )
    return folder


def build(buildctl: Client, context: Path, *options: str) -> dict[str, Any]:
    """Builds; returns what the client tells of the result."""
    told = context.parent / "told.json"
    sources = (f"--local=context={context}", f"--local=dockerfile={context}", f"--metadata-file={told}")
    buildctl("build", "--frontend=dockerfile.v0", "--progress=plain", *sources, *options)
    answer: dict[str, Any] = json.loads(told.read_text())
    return answer


def output(repository: Repository, tag: str, *more: str) -> str:
    return "--output=" + ",".join(("type=image", f"name={repository}:{tag}", "push=true", HTTP, *more))


def test_a_build_is_pushed(buildctl: Client, context: Path, repository: Repository) -> None:
    """The image that the build pushes is whole, under the digest that the client tells."""
    told = build(buildctl, context, output(repository, "v1", "oci-mediatypes=true"))
    stored = repository.manifest("v1")
    assert stored.media_type == OCI_MANIFEST
    assert stored.digest == told["containerimage.digest"]
    assert repository.is_whole("v1")


def test_a_build_with_provenance_is_an_index(buildctl: Client, context: Path, repository: Repository) -> None:
    """An attestation rides in an index beside the image, as an image of an unknown platform."""
    build(
        buildctl, context, output(repository, "v1", "oci-mediatypes=true"), "--opt=attest:provenance=mode=max"
    )
    stored = repository.manifest("v1")
    assert stored.media_type == OCI_INDEX
    (_, attestation) = stored.document["manifests"]
    assert attestation["platform"] == {"architecture": "unknown", "os": "unknown"}
    assert repository.is_whole("v1")


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("image_manifest", ["true", "false"])
def test_a_cache_is_exported_and_imported(
    buildctl: Client, context: Path, repository: Repository, mode: str, image_manifest: str
) -> None:
    """A build on a machine that knows nothing takes its steps from the cache in the registry.

    The older form of the cache is an index whose entries are layers. The cache of mode `max` holds the stage
    that is in no image, too. The step that writes the time proves that it was not run again.
    """
    place = f"ref={repository}:cache,{HTTP}"
    form = f"mode={mode},image-manifest={image_manifest},oci-mediatypes=true"
    export = f"--export-cache=type=registry,{place},{form}"
    first = build(buildctl, context, output(repository, "v1"), export)
    cache = repository.manifest("cache")
    assert cache.media_type == (OCI_MANIFEST if image_manifest == "true" else OCI_INDEX)
    layers = cache.document["layers"] if image_manifest == "true" else cache.document["manifests"][:-1]
    assert all(repository.has_blob(layer["digest"]) for layer in layers)
    assert len(layers) == {"min": 2, "max": 3}[mode]
    buildctl("prune", "--all")
    second = build(buildctl, context, output(repository, "v2"), f"--import-cache=type=registry,{place}")
    assert second["containerimage.config.digest"] == first["containerimage.config.digest"]
    assert repository.is_whole("v2")
    v1, v2 = (repository.manifest(tag).document["layers"] for tag in ("v1", "v2"))
    assert v1 == v2


@pytest.mark.parametrize("challenge", ["basic", "bearer"])
def test_a_build_is_pushed_with_a_login(
    buildctl: Client, context: Path, client: Callable[..., Client], tmp_path: Path, challenge: str
) -> None:
    """The builder takes the login from the client that asks for the build, and without one it pushes nothing."""
    crane = client("crane")
    ours = replace(buildctl, environment=crane.environment)
    with (
        guarded(tmp_path, {"auth.challenge": challenge}) as server,
        signed_in(server, "builds", "ann") as made,
    ):
        with pytest.raises(AssertionError, match=r"(?i)unauthorized|credential"):
            build(ours, context, output(made, "v1"))
        assert made.tags() == []
        login = ("auth", "login", "--username=ann", "--password-stdin", made.host)
        crane(*login, given=PASSWORDS["ann"].encode())
        build(ours, context, output(made, "v1"))
        assert made.is_whole("v1")
