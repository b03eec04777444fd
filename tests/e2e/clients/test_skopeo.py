"""skopeo: copies between layouts and repositories."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.e2e.clients.images import Layout
from tests.e2e.clients.repository import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.e2e.clients.program import Client
    from tests.e2e.clients.repository import Repository

pytestmark = pytest.mark.clients


@pytest.fixture
def skopeo(client: Callable[..., Client]) -> Client:
    return client("skopeo", "--insecure-policy")


def push(skopeo: Client, layout: Layout, target: str, *options: str) -> None:
    skopeo(
        "copy", "--all", "--dest-tls-verify=false", *options, f"oci:{layout.path}:it", f"docker://{target}"
    )


def pull(skopeo: Client, source: str, path: Path) -> Layout:
    skopeo("copy", "--all", "--src-tls-verify=false", f"docker://{source}", f"oci:{path}:it")
    return Layout(path)


def test_an_image_comes_back_as_it_was_pushed(
    skopeo: Client, image: Layout, repository: Repository, tmp_path: Path
) -> None:
    """Ten layers pushed at once are stored byte for byte, and the same bytes are pulled."""
    push(skopeo, image, f"{repository}:v1")
    assert repository.manifest("v1") == (OCI_MANIFEST, image.digest, image.content)
    assert repository.is_whole("v1")
    pulled = pull(skopeo, f"{repository}:v1", tmp_path / "pulled")
    assert pulled.digest == image.digest
    assert pulled.blobs == image.blobs


def test_an_index_comes_back_with_all_its_images(
    skopeo: Client, index: Layout, repository: Repository, tmp_path: Path
) -> None:
    """`copy --all` moves an index and the images of every platform, unchanged."""
    push(skopeo, index, f"{repository}:multi")
    assert repository.manifest("multi") == (OCI_INDEX, index.digest, index.content)
    assert repository.is_whole("multi")
    assert pull(skopeo, f"{repository}@{index.digest}", tmp_path / "pulled").blobs == index.blobs


def test_a_platform_is_chosen_out_of_an_index(
    skopeo: Client, index: Layout, repository: Repository, tmp_path: Path
) -> None:
    """Without `--all` a client gets the image of one platform by the digest that the index names."""
    push(skopeo, index, f"{repository}:multi")
    wanted = json.loads(index.content)["manifests"][1]
    path = tmp_path / "pulled"
    choice = ("--override-os=linux", "--override-arch=arm64")
    skopeo(*choice, "copy", "--src-tls-verify=false", f"docker://{repository}:multi", f"oci:{path}:it")
    assert Layout(path).digest == wanted["digest"]


def test_a_copy_to_another_repository_keeps_the_digest(
    skopeo: Client, image: Layout, repository: Repository
) -> None:
    """Layers are mounted or sent again; either way the other repository is whole by itself."""
    push(skopeo, image, f"{repository}:v1")
    other = repository.below("other")
    checks = ("--src-tls-verify=false", "--dest-tls-verify=false")
    skopeo("copy", *checks, f"docker://{repository}:v1", f"docker://{other}:v2")
    assert other.manifest("v2").digest == image.digest
    assert other.is_whole("v2")
    assert other.tags() == ["v2"]
    assert repository.tags() == ["v1"]


def test_the_docker_format_is_kept_beside_the_oci_one(
    skopeo: Client, image: Layout, repository: Repository
) -> None:
    """A manifest converted by the client to Docker's schema 2 is stored and served with its own type."""
    push(skopeo, image, f"{repository}:oci")
    push(skopeo, image, f"{repository}:docker", "--format=v2s2")
    stored = repository.manifest("docker")
    assert stored.media_type == stored.document["mediaType"] == DOCKER_MANIFEST
    raw = skopeo.output("inspect", "--raw", "--tls-verify=false", f"docker://{repository}:docker")
    assert raw == stored.content
    assert repository.is_whole("docker")
    assert repository.manifest("oci").content == image.content


def test_inspect_and_list_tags_tell_what_is_there(
    skopeo: Client, image: Layout, repository: Repository
) -> None:
    """The digest, the layers and the tags that the client shows are those pushed."""
    for tag in ("b", "a", "10", "9"):
        push(skopeo, image, f"{repository}:{tag}")
    shown = json.loads(skopeo("inspect", "--tls-verify=false", f"docker://{repository}:a"))
    assert shown["Digest"] == image.digest
    assert shown["Layers"] == [layer["digest"] for layer in json.loads(image.content)["layers"]]
    tags = json.loads(skopeo("list-tags", "--tls-verify=false", f"docker://{repository}"))["Tags"]
    assert tags == ["10", "9", "a", "b"]


def test_delete_removes_the_manifest_and_its_tags(
    skopeo: Client, image: Layout, repository: Repository
) -> None:
    """`skopeo delete` resolves a tag and deletes the digest: every tag of it goes, and pulls are refused."""
    push(skopeo, image, f"{repository}:v1")
    push(skopeo, image, f"{repository}:v2")
    skopeo("delete", "--tls-verify=false", f"docker://{repository}:v1")
    assert repository.tags() == []
    assert not repository.has(image.digest)
    assert "manifest unknown" in skopeo.refused("inspect", "--tls-verify=false", f"docker://{repository}:v2")
