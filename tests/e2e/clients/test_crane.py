"""crane: copies, looks into, changes and deletes images without an engine."""

from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.e2e.clients.images import Layout, packed
from tests.e2e.clients.repository import OCI_INDEX, sha256

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.e2e.clients.program import Client
    from tests.e2e.clients.repository import Repository

pytestmark = pytest.mark.clients


@pytest.fixture
def crane(client: Callable[..., Client]) -> Client:
    return client("crane", "--insecure")


def test_push_and_pull_of_a_layout(
    crane: Client, image: Layout, repository: Repository, tmp_path: Path
) -> None:
    """A pushed layout is stored whole and comes back the same, by tag and by digest."""
    crane("push", image.path, f"{repository}:v1")
    assert repository.manifest("v1").content == image.content
    assert repository.is_whole("v1")
    for reference in (f"{repository}:v1", f"{repository}@{image.digest}"):
        pulled = tmp_path / sha256(reference.encode()).replace(":", "-")
        crane("pull", "--format=oci", reference, pulled)
        assert Layout(pulled).digest == image.digest
        assert Layout(pulled).blobs == image.blobs


def test_manifest_config_blob_and_digest_show_the_bytes(
    crane: Client, image: Layout, repository: Repository
) -> None:
    """What the commands print is what was pushed, byte for byte."""
    crane("push", image.path, f"{repository}:v1")
    manifest = json.loads(image.content)
    layer = manifest["layers"][0]["digest"]
    assert crane("digest", f"{repository}:v1") == image.digest
    assert crane.output("manifest", f"{repository}:v1") == image.content
    assert crane.output("config", f"{repository}:v1") == image.blob(manifest["config"]["digest"])
    assert crane.output("blob", f"{repository}@{layer}") == image.blob(layer)
    crane("validate", "--remote", f"{repository}:v1")


def test_ls_and_catalog_list_what_was_pushed(crane: Client, image: Layout, repository: Repository) -> None:
    """Tags are listed as the registry sorts them, page after page; the repository is in the catalog."""
    crane("push", image.path, f"{repository}:a")
    for tag in ("c", "b"):
        crane("tag", f"{repository}:a", tag)
    assert crane("ls", str(repository)).splitlines() == repository.tags() == ["a", "b", "c"]
    assert repository.name in crane("catalog", repository.host).splitlines()


def test_copy_to_another_repository(crane: Client, index: Layout, repository: Repository) -> None:
    """An index is copied with its images, which are then whole in the other repository too."""
    crane("push", index.path, f"{repository}:multi")
    other = repository.below("other")
    crane("copy", f"{repository}:multi", f"{other}:copied")
    copied = other.manifest("copied")
    assert copied.media_type == OCI_INDEX
    assert copied.content == repository.manifest("multi").content == index.content
    assert other.is_whole("copied")


def test_append_adds_a_layer(crane: Client, image: Layout, repository: Repository, tmp_path: Path) -> None:
    """The new image holds the old layers, which are in the registry already, and the new one."""
    crane("push", image.path, f"{repository}:v1")
    archive = tmp_path / "more.tar"
    archive.write_bytes(packed({"more": b"more"}))
    crane("append", f"--base={repository}:v1", f"--new_layer={archive}", f"--new_tag={repository}:v2")
    old, new = (repository.manifest(tag).document["layers"] for tag in ("v1", "v2"))
    assert new[:-1] == old
    assert repository.is_whole("v2")
    with tarfile.open(fileobj=io.BytesIO(crane.output("export", f"{repository}:v2", "-"))) as exported:
        member = exported.extractfile("more")
        assert member is not None
        assert member.read() == b"more"


def test_mutate_writes_a_new_manifest(crane: Client, image: Layout, repository: Repository) -> None:
    """Annotations and labels make a new digest under a new tag; the old tag stays as it was."""
    crane("push", image.path, f"{repository}:v1")
    change = ("--annotation=colour=red", "--label=size=large", f"--tag={repository}:v2")
    crane("mutate", *change, f"{repository}:v1")
    changed = repository.manifest("v2").document
    assert changed["annotations"] == {"colour": "red"}
    config = json.loads(repository.blob(changed["config"]["digest"]))
    assert config["config"]["Labels"] == {"size": "large"}
    assert repository.manifest("v1").digest == image.digest


def test_index_append_and_filter(crane: Client, image: Layout, index: Layout, repository: Repository) -> None:
    """Indexes that the client makes of what is there are accepted and lead to whole images."""
    crane("push", image.path, f"{repository}:image")
    crane("push", index.path, f"{repository}:multi")
    crane(
        "index", "append", f"{repository}:multi", f"--manifest={repository}:image", f"--tag={repository}:more"
    )
    crane("index", "filter", f"{repository}:multi", "--platform=linux/arm64", f"--tag={repository}:arm")
    more, arm = (repository.manifest(tag).document["manifests"] for tag in ("more", "arm"))
    assert image.digest in {child["digest"] for child in more}
    assert [child["platform"]["architecture"] for child in arm] == ["arm64"]
    assert repository.is_whole("more")
    assert repository.is_whole("arm")


def test_delete_by_digest(crane: Client, image: Layout, repository: Repository) -> None:
    """A manifest deleted by digest is gone with its tags."""
    crane("push", image.path, f"{repository}:v1")
    crane("tag", f"{repository}:v1", "v2")
    crane("delete", f"{repository}@{image.digest}")
    assert not repository.has(image.digest)
    assert repository.tags() == []
    assert "MANIFEST_UNKNOWN" in crane.refused("manifest", f"{repository}:v2")
