"""What is exported and imported again is what it was, whatever it is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from cargohold.types.digest import Algorithm, Digest
from cargohold.types.names import RepositoryName, Tag
from cargohold.types.oci import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from tests.registry.documents import CONFIG, EMPTY, LAYER, LAYER_TYPE, descriptor, image, index
from tests.storage.foreign import put

if TYPE_CHECKING:
    from pathlib import Path

    from tests.registry.moving.registries import Held, Registry

EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
SCHEMA1_LAYER = b"a layer of long ago"
SCHEMA1 = json.dumps(
    {
        "schemaVersion": 1,
        "name": "old",
        "tag": "v1",
        "architecture": "amd64",
        "fsLayers": [{"blobSum": str(Digest.of(SCHEMA1_LAYER))}],
        "history": [{"v1Compatibility": "{}"}],
        "signatures": [{"header": {}, "signature": "s", "protected": "p"}],
    }
).encode()
ARTIFACT_BLOB = b"a blob of an artifact"
ARTIFACT = json.dumps(
    {
        "mediaType": "application/vnd.oci.artifact.manifest.v1+json",
        "artifactType": "application/vnd.example",
        "blobs": [descriptor(ARTIFACT_BLOB)],
        "subject": descriptor(SCHEMA1, "application/vnd.docker.distribution.manifest.v1+prettyjws"),
    }
).encode()


def refer(subject: bytes, text: str, media_type: str = OCI_MANIFEST) -> bytes:
    """A referrer that is told apart by `text`."""
    return image(
        (EMPTY,),
        EMPTY,
        artifactType="application/vnd.example",
        subject=descriptor(subject, media_type),
        annotations={"text": text},
    )


def fill(registry: Registry) -> None:
    """A registry of everything that there is."""
    shared = b"shared" * 100
    one, two = image((shared, b"one")), image((shared, b"two"), annotations={"platform": "arm64"})
    for repository in ("team/app", "team/web"):
        registry.push(repository, one, "v1", "latest", blobs=(CONFIG, shared, b"one"))
    registry.push("team/app", two, blobs=(CONFIG, shared, b"two"))
    multi = index([descriptor(one, OCI_MANIFEST), descriptor(two, OCI_MANIFEST)])
    registry.push("team/app", multi, "multi", "v2")
    registry.push("team/app", index([descriptor(multi, OCI_INDEX)]), "nested")
    signature = refer(one, "signature")
    registry.push("team/app", signature)
    registry.push("team/app", refer(signature, "signature of the signature"))
    registry.push("team/app", refer(multi, "of the index", OCI_INDEX), "named-referrer")
    registry.push("team/app", refer(b"never pushed", "of what is not there"))
    registry.push(
        "team/app", image((b"companion",)), f"sha256-{Digest.of(one).hex}.sig", blobs=(CONFIG, b"companion")
    )
    registry.push("untagged", image((LAYER,)), blobs=(CONFIG, LAYER))
    big = image((LAYER, b""), algorithm="sha512")
    registry.push("sha512", big, "v1", blobs=(CONFIG, LAYER, b""), algorithm="sha512")
    cache = index(
        [descriptor(LAYER, LAYER_TYPE), descriptor(CONFIG, "application/vnd.buildkit.cacheconfig.v0")]
    )
    registry.push("cache", cache, "main", blobs=(CONFIG, LAYER))
    foreign = descriptor(b"base", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")
    document = json.loads(image((LAYER,), media_type=DOCKER_MANIFEST))
    document["layers"].append(foreign)
    registry.push("windows", json.dumps(document).encode(), "v1", blobs=(CONFIG, LAYER))
    fill_old(registry)


def fill_old(registry: Registry) -> None:
    """Manifests that nobody can push any more, as another server has stored them."""
    layout, name = registry.store.layout, RepositoryName("old")
    registry.push_blob("old", SCHEMA1_LAYER)
    registry.push_blob("old", ARTIFACT_BLOB)
    for content, tag in ((SCHEMA1, "v1"), (ARTIFACT, "")):
        digest = Digest.of(content)
        put(layout.data(digest), content)
        put(f"{layout.revision(name, digest)}/link", digest.encode())
        if tag:
            put(f"{layout.tag_index(name, Tag(tag), digest)}/link", digest.encode())
            put(layout.tag_current(name, Tag(tag)), digest.encode())


def named(held: dict[str, Held]) -> dict[str, Held]:
    """Without the blobs that no manifest names, which stay behind."""
    found = {}
    for repository, all_of_it in held.items():
        text = b"".join(all_of_it.manifests.values())
        blobs = {digest: blob for digest, blob in all_of_it.blobs.items() if digest.encode() in text}
        found[repository] = all_of_it._replace(blobs=blobs)
    return found


@pytest.mark.parametrize("place", ["layout", "layout.tar"])
@pytest.mark.parametrize("link", [True, False])
def test_everything(place: str, link: bool, registry: Registry, other: Registry, tmp_path: Path) -> None:
    """Every manifest, tag, blob and referrer of every repository, byte for byte, with nothing more."""
    fill(registry)
    exported = registry.export(tmp_path / place, link=link)
    assert exported.problems == []
    imported = other.import_(tmp_path / place)
    assert imported.problems == []
    assert other.held() == named(registry.held())
    assert (imported.images, imported.tags) == (exported.images, exported.tags)


def test_everything_into_one_repository(registry: Registry, other: Registry, tmp_path: Path) -> None:
    """With a repository named, all of one goes there, also what has no tag."""
    fill(registry)
    registry.export(tmp_path / "layout", "team/app", plain=True)
    assert other.import_(tmp_path / "layout", "mirror/app").problems == []
    assert other.held() == {"mirror/app": named(registry.held())["team/app"]}


def test_the_same_registry_is_the_same_tar(registry: Registry, tmp_path: Path) -> None:
    """Nothing of the time, or of chance, is in what is written."""
    fill(registry)
    for name in ("one.tar", "two.tar"):
        registry.export(tmp_path / name)
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()


def test_both_algorithms_are_in_the_layout(registry: Registry, tmp_path: Path) -> None:
    """Content lies under its own digest, whichever hash made it."""
    fill(registry)
    registry.export(tmp_path / "layout")
    for algorithm in Algorithm:
        files = list((tmp_path / "layout/blobs" / algorithm.value).iterdir())
        assert files
        for file in files:
            assert Digest.of(file.read_bytes(), algorithm).hex == file.name
