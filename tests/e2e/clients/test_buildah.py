"""buildah: images built from nothing, pushed and pulled."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.e2e.clients.absence import require_root
from tests.e2e.clients.engine import clear
from tests.e2e.clients.repository import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.e2e.clients.images import Layout
    from tests.e2e.clients.program import Client
    from tests.e2e.clients.repository import Repository

pytestmark = pytest.mark.clients

HTTP = "--tls-verify=false"


@pytest.fixture
def buildah(client: Callable[..., Client], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A buildah with a storage of its own, where commands run in a mere chroot."""
    require_root()
    folder = tmp_path_factory.mktemp("buildah")
    store = (f"--root={folder}/root", f"--runroot={folder}/run", "--storage-driver=vfs")
    yield client("buildah", *store, BUILDAH_ISOLATION="chroot")
    clear(folder)


@pytest.fixture
def built(buildah: Client, busybox: bytes, tmp_path: Path) -> str:
    """Builds an image from scratch, a layer of it by a command that runs in it; returns its name."""
    program = tmp_path / "busybox"
    program.write_bytes(busybox)
    program.chmod(0o755)
    container = buildah("from", "scratch")
    buildah("copy", container, program, "/bin/busybox")
    buildah("run", container, "/bin/busybox", "sh", "-c", "echo built > /made")
    buildah("commit", "--rm", container, "made:latest")
    return "made:latest"


@pytest.mark.parametrize("form", ["oci", "v2s2"])
def test_a_built_image_is_pushed_and_pulled(
    buildah: Client, built: str, repository: Repository, tmp_path: Path, form: str
) -> None:
    """What was built is stored whole in either format, and once removed comes back with the same config."""
    note = tmp_path / "digest"
    buildah("push", HTTP, f"--format={form}", f"--digestfile={note}", built, f"docker://{repository}:v1")
    stored = repository.manifest("v1")
    assert stored.digest == note.read_text().strip()
    assert stored.media_type == {"oci": OCI_MANIFEST, "v2s2": DOCKER_MANIFEST}[form]
    assert repository.is_whole("v1")
    buildah("rmi", built)
    image = buildah("pull", HTTP, "--quiet", f"docker://{repository}:v1")
    assert f"sha256:{image}" == stored.document["config"]["digest"]
    container = buildah("from", image)
    assert buildah("run", container, "/bin/busybox", "cat", "/made") == "built"


def test_a_build_takes_its_base_from_the_registry(
    buildah: Client, runnable: Layout, repository: Repository, tmp_path: Path
) -> None:
    """FROM pulls; the image built on it shares the layers of its base when it is pushed."""
    repository.push(runnable, "base")
    (tmp_path / "Containerfile").write_text(
        f'FROM {repository}:base\nRUN ["/bin/busybox", "sh", "-c", "echo more > /more"]\n'
    )
    name = f"{repository}:more"
    buildah("build", HTTP, "--layers", f"--tag={name}", f"--file={tmp_path}/Containerfile", str(tmp_path))
    buildah("push", HTTP, name)
    below, above = (repository.manifest(tag).document["layers"] for tag in ("base", "more"))
    assert len(above) == len(below) + 1
    assert repository.is_whole("more")


def test_a_manifest_list_is_pushed_with_all_its_images(
    buildah: Client, index: Layout, repository: Repository
) -> None:
    """A list made by the client of images of two platforms is an index in the registry."""
    repository.push(index, "source")
    buildah("manifest", "create", "many")
    buildah("manifest", "add", HTTP, "--all", "many", f"docker://{repository}:source")
    buildah("manifest", "push", HTTP, "--all", "many", f"docker://{repository}:many")
    stored = repository.manifest("many")
    assert stored.media_type == OCI_INDEX
    platforms = {child["digest"]: child["platform"]["architecture"] for child in stored.document["manifests"]}
    children = json.loads(index.content)["manifests"]
    assert platforms == {child["digest"]: child["platform"]["architecture"] for child in children}
    assert repository.is_whole("many")
