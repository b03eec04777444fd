"""What lies in the trees of these tests: blobs by either algorithm, and the manifests that name them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from cargohold.storage.filesystem import FilesystemStore
from cargohold.storage.filesystem.leases import Terms
from cargohold.storage.protocols import Incomplete
from cargohold.types.digest import Algorithm, Digest
from cargohold.types.oci import parse_manifest
from tests.storage.collecting import HOUR
from tests.storage.contract.base import IMAGE, Sample, blob, document, push

if TYPE_CHECKING:
    from pathlib import Path

    from cargohold.types.names import RepositoryName, Tag

INDEX: Final = "application/vnd.oci.image.index.v1+json"
CONFIG: Final = b"{}"


def open_store(root: Path) -> FilesystemStore:
    """A store as a worker has it, of which nothing can be restored."""
    return FilesystemStore(str(root), Terms(grace=HOUR, keep=0))


def image(
    layer: bytes, algorithm: Algorithm = Algorithm.SHA256, subject: Sample | None = None, text: str = ""
) -> Sample:
    """An image of `CONFIG` and one layer."""
    document: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": IMAGE,
        "artifactType": "application/vnd.example",
        "config": {"mediaType": "application/json", "digest": Digest.of(CONFIG), "size": len(CONFIG)},
        "layers": [{"mediaType": "text/plain", "digest": Digest.of(layer, algorithm), "size": len(layer)}],
        "annotations": {"text": text},
    }
    if subject is not None:
        size = len(subject.manifest.content)
        document["subject"] = {"mediaType": IMAGE, "digest": subject.digest, "size": size}
    content = json.dumps(document).encode()
    return Sample(Digest.of(content), parse_manifest(content, IMAGE))


def index(*children: Sample) -> Sample:
    """An index of images."""
    listed = [
        {"mediaType": IMAGE, "digest": each.digest, "size": len(each.manifest.content)} for each in children
    ]
    content = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": listed}).encode()
    return Sample(Digest.of(content), parse_manifest(content, INDEX))


async def push_image(store: FilesystemStore, repository: RepositoryName, layer: bytes, *tags: Tag) -> Sample:
    """Push an image of one layer as a client does."""
    for content in (CONFIG, layer):
        await push(store, repository, content)
    of = image(layer)
    assert await is_taken(store, repository, of, *tags)
    return of


async def is_taken(store: FilesystemStore, repository: RepositoryName, of: Sample, *tags: Tag) -> bool:
    """Push a manifest as a client does; False where it was refused for what it lacks."""
    try:
        await store.commit_manifest(repository, of.digest, of.manifest, tags, complete=True)
    except Incomplete:
        return False
    return True


async def is_whole(store: FilesystemStore, repository: RepositoryName, of: Sample) -> bool:
    """Whether the manifest is there, and all that it names, byte for byte."""
    if await document(store, repository, of.digest) != of.manifest.content:
        return False
    for digest in of.manifest.blobs:
        content = await blob(store, repository, digest)
        if content is None or Digest.of(content, digest.algorithm) != digest:
            return False
    for digest in of.manifest.manifests:
        child = await document(store, repository, digest)
        if child is None or not await is_whole(
            store, repository, Sample(digest, parse_manifest(child, None))
        ):
            return False
    return True
