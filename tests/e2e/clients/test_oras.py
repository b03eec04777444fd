"""oras: artifacts, and what is attached to them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.e2e.clients.repository import sha256

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.e2e.clients.images import Layout
    from tests.e2e.clients.program import Client
    from tests.e2e.clients.repository import Repository

pytestmark = pytest.mark.clients

DOCUMENT = b"of several lines\n" * 100
RECORDING = bytes(range(256)) * 4000


@pytest.fixture
def oras(client: Callable[..., Client]) -> Client:
    return client("oras")


@pytest.fixture
def artifact(oras: Client, repository: Repository, tmp_path: Path) -> str:
    """Pushes an artifact of two files under the tag `v1`; returns its digest."""
    (tmp_path / "document.txt").write_bytes(DOCUMENT)
    (tmp_path / "recording.bin").write_bytes(RECORDING)
    files = (f"{tmp_path}/document.txt:text/plain", f"{tmp_path}/recording.bin:application/octet-stream")
    kind = ("--artifact-type=application/vnd.example", "--disable-path-validation")
    oras("push", "--plain-http", *kind, f"{repository}:v1", *files)
    return oras("resolve", "--plain-http", f"{repository}:v1")


def attach(oras: Client, repository: Repository, tmp_path: Path, kind: str, content: bytes) -> str:
    """Attaches a file to `v1`; returns the digest of the referrer."""
    file = tmp_path / sha256(content)[-12:]
    file.write_bytes(content)
    way = ("--distribution-spec=v1.1-referrers-api", "--disable-path-validation", "--format=json")
    shown = oras("attach", "--plain-http", *way, f"--artifact-type={kind}", f"{repository}:v1", str(file))
    digest: str = json.loads(shown)["digest"]
    return digest


def test_an_artifact_comes_back_as_files(
    oras: Client, artifact: str, repository: Repository, tmp_path: Path
) -> None:
    """An artifact with an empty config is stored with its type, and its files are pulled as they were."""
    stored = repository.manifest("v1")
    assert stored.digest == artifact
    assert stored.document["artifactType"] == "application/vnd.example"
    assert [repository.blob(layer["digest"]) for layer in stored.document["layers"]] == [DOCUMENT, RECORDING]
    assert repository.is_whole("v1")
    titles = [layer["annotations"]["org.opencontainers.image.title"] for layer in stored.document["layers"]]
    (tmp_path / "document.txt").unlink()
    oras("pull", "--plain-http", "--allow-path-traversal", f"{repository}@{artifact}")
    assert titles[0] == f"{tmp_path}/document.txt"
    assert (tmp_path / "document.txt").read_bytes() == DOCUMENT


def test_attached_artifacts_are_discovered(
    oras: Client, artifact: str, repository: Repository, tmp_path: Path
) -> None:
    """What is attached is listed by the referrers API, filtered by type, until it is deleted."""
    note = attach(oras, repository, tmp_path, "application/vnd.note", b"a note")
    bill = attach(oras, repository, tmp_path, "application/vnd.bill", b"of materials")
    discover = ("discover", "--plain-http", "--distribution-spec=v1.1-referrers-api", "--format=json")
    found = json.loads(oras(*discover, f"{repository}:v1"))["manifests"]
    assert {each["digest"]: each["artifactType"] for each in found} == {
        note: "application/vnd.note",
        bill: "application/vnd.bill",
    }
    only = json.loads(oras(*discover, "--artifact-type=application/vnd.bill", f"{repository}:v1"))
    assert [each["digest"] for each in only["manifests"]] == [bill]
    assert {each["digest"] for each in repository.referrers(artifact)} == {note, bill}
    assert [each["digest"] for each in repository.referrers(artifact, "application/vnd.note")] == [note]
    assert repository.tags() == ["v1"]
    oras("manifest", "delete", "--plain-http", "--force", f"{repository}@{note}")
    assert [each["digest"] for each in repository.referrers(artifact)] == [bill]


def test_without_being_told_attach_uses_the_referrers_api(
    oras: Client, artifact: str, repository: Repository, tmp_path: Path
) -> None:
    """`OCI-Subject` tells the client that no tag for the list of referrers is needed."""
    file = tmp_path / "note"
    file.write_bytes(b"a note")
    kind = "--artifact-type=application/vnd.note"
    oras("attach", "--plain-http", "--disable-path-validation", kind, f"{repository}:v1", str(file))
    assert len(repository.referrers(artifact)) == 1
    assert repository.tags() == ["v1"]


def test_a_recursive_copy_takes_the_referrers_along(
    oras: Client, artifact: str, repository: Repository, tmp_path: Path
) -> None:
    """`cp --recursive` finds what refers to an artifact, and what refers to that in turn."""
    note = attach(oras, repository, tmp_path, "application/vnd.note", b"a note")
    other = repository.below("other")
    ways = ("--from-plain-http", "--to-plain-http", "--recursive")
    oras("cp", *ways, f"{repository}:v1", f"{other}:copied")
    assert other.manifest("copied").digest == artifact
    assert [each["digest"] for each in other.referrers(artifact)] == [note]
    assert other.is_whole("copied")


def test_blobs_manifests_and_tags_one_by_one(
    oras: Client, image: Layout, repository: Repository, tmp_path: Path
) -> None:
    """Each request on its own: push, fetch and delete of a blob; fetch, tag, push and list of a manifest."""
    repository.push(image, "v1")
    file = tmp_path / "blob"
    file.write_bytes(RECORDING)
    digest = sha256(RECORDING)
    oras("blob", "push", "--plain-http", str(repository), str(file))
    assert repository.blob(digest) == RECORDING
    assert oras.output("blob", "fetch", "--plain-http", "--output=-", f"{repository}@{digest}") == RECORDING
    oras("blob", "delete", "--plain-http", "--force", f"{repository}@{digest}")
    assert not repository.has_blob(digest)
    assert oras.output("manifest", "fetch", "--plain-http", f"{repository}:v1").strip() == image.content
    oras("tag", "--plain-http", f"{repository}:v1", "v2", "v3")
    assert oras("repo", "tags", "--plain-http", str(repository)).splitlines() == ["v1", "v2", "v3"]
    assert repository.name.removeprefix("clients/") in oras(
        "repo", "ls", "--plain-http", f"{repository.host}/clients"
    )
