"""regctl: images, indexes, artifacts, blobs and tags, one request at a time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.e2e.clients.repository import OCI_INDEX, OCI_MANIFEST, sha256

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.e2e.clients.images import Layout
    from tests.e2e.clients.program import Client
    from tests.e2e.clients.repository import Repository

pytestmark = pytest.mark.clients


@pytest.fixture
def regctl(client: Callable[..., Client], repository: Repository) -> Client:
    return client("regctl", f"--host=reg={repository.host},tls=disabled")


def test_image_copy_from_and_to_a_layout(
    regctl: Client, index: Layout, repository: Repository, tmp_path: Path
) -> None:
    """An index and its images go up and come down unchanged."""
    regctl("image", "copy", f"ocidir://{index.path}:it", f"{repository}:multi")
    assert repository.manifest("multi") == (OCI_INDEX, index.digest, index.content)
    assert repository.is_whole("multi")
    regctl("image", "copy", f"{repository}:multi", f"ocidir://{tmp_path / 'pulled'}:it")
    for digest, content in index.blobs.items():
        assert (tmp_path / "pulled/blobs" / digest.replace(":", "/")).read_bytes() == content


def test_image_copy_between_repositories_mounts(
    regctl: Client, image: Layout, repository: Repository
) -> None:
    """A copy within the registry is whole in the second repository."""
    repository.push(image, "v1")
    other = repository.below("other")
    regctl("image", "copy", f"{repository}:v1", f"{other}:v2")
    assert other.manifest("v2").content == image.content
    assert other.is_whole("v2")


def test_digest_and_manifest_commands(regctl: Client, image: Layout, repository: Repository) -> None:
    """Digest, HEAD and GET of a manifest agree with what was pushed, by tag and by digest."""
    repository.push(image, "v1")
    for reference in (f"{repository}:v1", f"{repository}@{image.digest}"):
        assert regctl("image", "digest", reference) == image.digest
        assert regctl("manifest", "head", reference) == image.digest
        assert regctl.output("manifest", "get", "--format=raw-body", reference) == image.content


def test_manifest_put_by_tag_and_by_digest(regctl: Client, image: Layout, repository: Repository) -> None:
    """A manifest sent on its own is stored as it is; one that names blobs that are missing is refused."""
    repository.push(image, "v1")
    content = json.dumps(json.loads(image.content), indent=1).encode()
    put = ("manifest", "put", f"--content-type={OCI_MANIFEST}")
    regctl(*put, f"{repository}:v2", given=content)
    assert repository.manifest("v2").content == content
    regctl(*put, "--by-digest", str(repository), given=content + b"\n")
    assert repository.manifest(sha256(content + b"\n")).content == content + b"\n"


def test_blob_put_get_head_and_delete(regctl: Client, repository: Repository) -> None:
    """A blob goes up, is found, comes back the same, and is gone once deleted."""
    content = bytes(range(256)) * 5000
    digest = sha256(content)
    assert regctl("blob", "put", str(repository), given=content) == digest
    assert repository.blob(digest) == content
    assert regctl.output("blob", "get", str(repository), digest) == content
    assert f"Content-Length: {len(content)}" in regctl("blob", "head", str(repository), digest)
    regctl("blob", "delete", str(repository), digest)
    assert not repository.has_blob(digest)


def test_image_mod_writes_a_changed_image(regctl: Client, image: Layout, repository: Repository) -> None:
    """A changed image goes under a new tag, whole; the old one stays."""
    repository.push(image, "v1")
    regctl("image", "mod", f"{repository}:v1", "--create=v2", "--annotation=a=b", "--label=c=d")
    changed = repository.manifest("v2").document
    assert changed["annotations"]["a"] == "b"
    assert json.loads(repository.blob(changed["config"]["digest"]))["config"]["Labels"]["c"] == "d"
    assert repository.is_whole("v2")
    assert repository.manifest("v1").digest == image.digest


def test_index_create_add_and_delete(
    regctl: Client, image: Layout, index: Layout, repository: Repository
) -> None:
    """An index grows and shrinks by its entries, each change a new manifest under the tag."""
    repository.push(image, "v1")
    repository.push(index, "multi")
    tag = f"{repository}:mine"
    regctl("index", "create", tag, f"--ref={repository}:v1", "--desc-platform=linux/amd64")
    assert [child["digest"] for child in repository.manifest("mine").document["manifests"]] == [image.digest]
    arm = json.loads(index.content)["manifests"][1]["digest"]
    regctl("index", "add", tag, f"--ref={repository}@{arm}", "--desc-platform=linux/arm64")
    assert [child["digest"] for child in repository.manifest("mine").document["manifests"]] == [
        image.digest,
        arm,
    ]
    regctl("index", "delete", tag, f"--digest={image.digest}")
    assert [child["digest"] for child in repository.manifest("mine").document["manifests"]] == [arm]
    assert repository.manifest("mine").media_type == OCI_INDEX


def test_artifacts_refer_to_their_subject(
    regctl: Client, image: Layout, repository: Repository, tmp_path: Path
) -> None:
    """Artifacts put with a subject are its referrers until they are deleted, and come back as files."""
    repository.push(image, "v1")
    subject = f"{repository}:v1"
    file = tmp_path / "bill"
    file.write_bytes(b"of materials")
    for kind in ("application/vnd.one", "application/vnd.two"):
        regctl("artifact", "put", f"--artifact-type={kind}", f"--subject={subject}", f"--file={file}")
    listed = repository.referrers(image.digest)
    assert sorted(each["artifactType"] for each in listed) == ["application/vnd.one", "application/vnd.two"]
    (one,) = repository.referrers(image.digest, "application/vnd.one")
    assert one["digest"] in regctl("artifact", "list", "--filter-artifact-type=application/vnd.one", subject)
    assert regctl.output("artifact", "get", f"{repository}@{one['digest']}") == b"of materials"
    assert repository.tags() == ["v1"]  # a registry without the referrers API would hold a tag for the list
    regctl("manifest", "delete", f"{repository}@{one['digest']}")
    assert [each["artifactType"] for each in repository.referrers(image.digest)] == ["application/vnd.two"]


def test_tag_ls_and_repo_ls(regctl: Client, image: Layout, repository: Repository) -> None:
    """Tags and repositories are listed, whole and page by page."""
    for tag in ("c", "a", "b"):
        repository.push(image, tag)
    assert regctl("tag", "ls", str(repository)).splitlines() == ["a", "b", "c"]
    assert regctl("tag", "ls", "--limit=1", "--last=a", str(repository)).splitlines() == ["b"]
    assert repository.name in regctl("repo", "ls", "--limit=1000", repository.host).splitlines()


def test_tag_rm_takes_one_tag_away(regctl: Client, image: Layout, repository: Repository) -> None:
    """Where deletion by tag is refused, the client moves the tag to a manifest that it then deletes."""
    repository.push(image, "keep")
    repository.push(image, "drop")
    regctl("tag", "rm", f"{repository}:drop")
    assert repository.tags() == ["keep"]
    assert repository.manifest("keep").digest == image.digest


def test_manifest_delete_removes_the_tags(regctl: Client, image: Layout, repository: Repository) -> None:
    """A manifest deleted by digest is gone with every tag of it."""
    repository.push(image, "v1")
    repository.push(image, "v2")
    regctl("manifest", "delete", f"{repository}@{image.digest}")
    assert not repository.has(image.digest)
    assert repository.tags() == []
