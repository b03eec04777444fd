"""docker: the engine itself, of whatever version the system has."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.e2e.clients.engine import docker_engine
from tests.e2e.clients.images import packed
from tests.e2e.clients.repository import DOCKER_LIST, DOCKER_MANIFEST

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.clients.images import Layout
    from tests.e2e.clients.program import Client
    from tests.e2e.clients.repository import Repository

pytestmark = pytest.mark.clients


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with docker_engine(tmp_path_factory.mktemp("docker")) as client:
        yield client


@pytest.fixture
def built(docker: Client, busybox: bytes, repository: Repository, tmp_path: Path) -> str:
    """Builds an image of three layers from scratch; returns its name, which is its place in the registry."""
    (tmp_path / "busybox").write_bytes(busybox)
    (tmp_path / "busybox").chmod(0o755)
    (tmp_path / "Dockerfile").write_text(
        "FROM scratch\n"
        "COPY busybox /bin/busybox\n"
        f'RUN ["/bin/busybox", "sh", "-c", "echo {repository.name} > /made"]\n'
        'RUN ["/bin/busybox", "touch", "/touched"]\n'
        'CMD ["/bin/busybox", "cat", "/made"]\n'
    )
    name = f"{repository}:built"
    docker("build", f"--tag={name}", tmp_path)
    return name


def forget(docker: Client) -> None:
    docker("image", "prune", "--all", "--force")


def test_an_image_is_built_pushed_pulled_and_run(docker: Client, built: str, repository: Repository) -> None:
    """Pushed, forgotten and pulled again, an image is the same and runs."""
    identity = json.loads(docker("image", "inspect", built))[0]["Id"]
    docker("push", built)
    stored = repository.manifest("built")
    assert stored.media_type == DOCKER_MANIFEST
    assert stored.document["config"]["digest"] == identity
    assert len(stored.document["layers"]) == 3
    assert repository.is_whole("built")
    forget(docker)
    assert f"Digest: {stored.digest}" in docker("pull", built)
    assert docker("run", "--rm", "--network=none", built) == repository.name
    forget(docker)
    docker("pull", f"{repository}@{stored.digest}")
    assert json.loads(docker("image", "inspect", f"{repository}@{stored.digest}"))[0]["Id"] == identity


def test_layers_go_to_a_second_repository_without_being_sent(
    docker: Client, built: str, repository: Repository
) -> None:
    """The engine remembers where it pushed a layer, and mounts it from there."""
    docker("push", built)
    other = repository.below("other")
    docker("tag", built, f"{other}:v1")
    assert f"Mounted from {repository.name}" in docker("push", f"{other}:v1")
    assert other.manifest("v1").content == repository.manifest("built").content
    assert other.is_whole("v1")


def test_all_tags_are_pushed_and_pulled(docker: Client, repository: Repository, tmp_path: Path) -> None:
    """`--all-tags` pushes each tag, and pulls each that the list of tags names."""
    for tag in ("one", "two"):
        archive = tmp_path / tag
        archive.write_bytes(packed({"name": tag.encode()}))
        docker("import", archive, f"{repository}:{tag}")
    docker("push", "--all-tags", str(repository))
    assert repository.tags() == ["one", "two"]
    forget(docker)
    docker("pull", "--all-tags", str(repository))
    assert sorted(docker("images", "--format={{.Tag}}", str(repository)).splitlines()) == ["one", "two"]


def test_an_oci_image_is_pulled(docker: Client, runnable: Layout, repository: Repository) -> None:
    """What other tools pushed in the OCI format, the engine runs."""
    repository.push(runnable, "v1")
    assert docker("run", "--rm", "--network=none", f"{repository}:v1") == "it runs"


def test_the_platform_of_this_machine_is_chosen(
    docker: Client, index: Layout, repository: Repository, architecture: str
) -> None:
    """Of an index, the engine pulls this machine's image."""
    repository.push(index, "multi")
    assert f"Digest: {index.digest}" in docker("pull", f"{repository}:multi")
    assert json.loads(docker("image", "inspect", f"{repository}:multi"))[0]["Architecture"] == architecture


def test_a_manifest_list_is_pushed(docker: Client, built: str, repository: Repository) -> None:
    """`docker manifest` makes a list of what is in the registry and pushes it."""
    docker("push", built)
    create = ("manifest", "create", "--insecure", f"{repository}:list")
    docker(*create, built)
    docker("manifest", "push", "--insecure", f"{repository}:list")
    stored = repository.manifest("list")
    assert stored.media_type == DOCKER_LIST
    assert [child["digest"] for child in stored.document["manifests"]] == [
        repository.manifest("built").digest
    ]


def test_what_is_not_there_is_said_so(docker: Client, repository: Repository) -> None:
    """An unknown image is refused in words that the engine passes on."""
    assert f"{repository}:none" in docker.refused("pull", f"{repository}:none")
