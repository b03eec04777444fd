"""podman: pulls, runs, commits and pushes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.e2e.clients.absence import require, require_root
from tests.e2e.clients.engine import clear

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.e2e.clients.images import Layout
    from tests.e2e.clients.program import Client
    from tests.e2e.clients.repository import Repository

pytestmark = pytest.mark.clients

HTTP = "--tls-verify=false"
# No network and low limits: what a container may have within another one.
MODEST = ("--network=none", "--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024")


@pytest.fixture
def podman(client: Callable[..., Client], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A podman with a storage of its own."""
    require_root()
    folder = tmp_path_factory.mktemp("podman")  # its name must be short
    places = (f"--root={folder}/root", f"--runroot={folder}/run", f"--tmpdir={folder}/tmp")
    ways = ("--storage-driver=vfs", "--cgroup-manager=cgroupfs", "--events-backend=none")
    yield client("podman", *places, *ways, f"--runtime={require('runc')}")
    clear(folder)


def test_an_image_is_pulled_and_runs(podman: Client, runnable: Layout, repository: Repository) -> None:
    """An image by its tag is pulled when it is to be run, and is the one that was pushed."""
    repository.push(runnable, "v1")
    assert podman("run", "--rm", HTTP, *MODEST, f"{repository}:v1") == "it runs"
    (seen,) = json.loads(podman("image", "inspect", f"{repository}:v1"))
    assert seen["Digest"] == runnable.digest


def test_a_pull_by_digest(podman: Client, runnable: Layout, repository: Repository) -> None:
    """A digest pins the image, whatever the tag points to by now."""
    repository.push(runnable, "v1")
    podman("pull", HTTP, f"{repository}@{runnable.digest}")
    assert podman("run", "--rm", *MODEST, f"{repository}@{runnable.digest}") == "it runs"
    assert "manifest unknown" in podman.refused("pull", HTTP, f"{repository}@sha256:{'0' * 64}")


@pytest.mark.parametrize(("compression", "suffix"), [("gzip", "tar+gzip"), ("zstd", "tar+zstd")])
def test_a_container_is_committed_and_pushed(
    podman: Client, runnable: Layout, repository: Repository, compression: str, suffix: str
) -> None:
    """A changed container becomes an image that is stored whole and runs once pulled again."""
    repository.push(runnable, "base")
    change = ("/bin/busybox", "sh", "-c", "echo changed > /said")
    podman("run", "--name=changed", HTTP, *MODEST, f"{repository}:base", *change)
    podman("commit", '--change=CMD ["/bin/busybox", "cat", "/said"]', "changed", f"{repository}:changed")
    podman("push", HTTP, f"--compression-format={compression}", "--format=oci", f"{repository}:changed")
    layers = repository.manifest("changed").document["layers"]
    assert layers[-1]["mediaType"] == f"application/vnd.oci.image.layer.v1.{suffix}"
    assert repository.is_whole("changed")
    podman("rm", "--all", "--force")
    podman("rmi", "--all", "--force")
    assert podman("run", "--rm", HTTP, *MODEST, f"{repository}:changed") == "changed"


def test_the_platform_of_this_machine_is_chosen(
    podman: Client, index: Layout, repository: Repository, architecture: str
) -> None:
    """Of an index, podman pulls this machine's image, or the one asked for."""
    repository.push(index, "multi")
    for wanted, options in ((architecture, ()), ("arm64", ("--arch=arm64",))):
        podman("pull", HTTP, *options, f"{repository}:multi")
        (seen,) = json.loads(podman("image", "inspect", f"{repository}:multi"))
        assert seen["Architecture"] == wanted


def test_search_lists_tags(podman: Client, runnable: Layout, repository: Repository) -> None:
    """`search --list-tags` shows what is there."""
    for tag in ("v2", "v1"):
        repository.push(runnable, tag)
    heading, *lines = podman("search", HTTP, "--list-tags", str(repository)).splitlines()
    assert heading.split() == ["NAME", "TAG"]
    assert [line.split() for line in lines] == [[str(repository), "v1"], [str(repository), "v2"]]
