"""Documents to change: an image and an index that are what they should be; and how a changed one is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cargohold.types.digest import Digest
from cargohold.types.errors import ManifestInvalid
from cargohold.types.oci import OCI_INDEX, OCI_MANIFEST, parse_manifest

LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"

Document = dict[str, Any]


def descriptor(content: bytes, media_type: str = LAYER_TYPE, **more: Any) -> Document:
    return {"mediaType": media_type, "digest": str(Digest.of(content)), "size": len(content), **more}


CONFIG = descriptor(b"{}", CONFIG_TYPE)
FIRST, SECOND = descriptor(b"first"), descriptor(b"second")
CHILD = descriptor(b"child", OCI_MANIFEST)
SUBJECT = descriptor(b"subject", OCI_MANIFEST)


def image(**fields: Any) -> Document:
    whole = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": CONFIG, "layers": [FIRST, SECOND]}
    return {**whole, **fields}


def index(**fields: Any) -> Document:
    return {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [CHILD], **fields}


def without(document: Document, *fields: str) -> Document:
    return {name: value for name, value in document.items() if name not in fields}


def written(document: Any) -> bytes:
    return json.dumps(document).encode()


ARTIFACT = image(
    artifactType="application/vnd.example",
    config=descriptor(b"{}", "application/vnd.oci.empty.v1+json", data="e30="),
    layers=[descriptor(b"{}", "application/vnd.oci.empty.v1+json", data="e30=")],
)
UNTYPED_IMAGE, UNTYPED_INDEX = without(image(), "mediaType"), without(index(), "mediaType")


def digests(*descriptors: Document) -> tuple[Digest, ...]:
    return tuple(Digest(each["digest"]) for each in descriptors)


def refusal(content: bytes, content_type: str | None) -> str:
    with pytest.raises(ManifestInvalid) as refused:
        parse_manifest(content, content_type)
    assert (refused.value.code, refused.value.status) == ("MANIFEST_INVALID", 400)
    return refused.value.message
