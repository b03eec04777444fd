"""Manifests as bytes, for tests: the documents of the OCI Image Specification, made of what a test gives."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from cargohold.types.digest import Algorithm, Digest
from cargohold.types.oci import OCI_INDEX, OCI_MANIFEST

if TYPE_CHECKING:
    from collections.abc import Sequence

CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"

CONFIG = b'{"architecture":"amd64","os":"linux"}'
LAYER = b"the bytes of a layer"
EMPTY = b"{}"

ABSENT_CONTENT = b"content that nobody has pushed"


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def sha512(content: bytes) -> str:
    return f"sha512:{hashlib.sha512(content).hexdigest()}"


ABSENT = sha256(ABSENT_CONTENT)


def digest_of(content: bytes, algorithm: str = "sha256") -> Digest:
    return Digest.of(content, Algorithm(algorithm))


def descriptor(
    content: bytes, media_type: str = LAYER_TYPE, *, algorithm: str = "sha256", **more: Any
) -> dict[str, Any]:
    digest = str(digest_of(content, algorithm))
    return {"mediaType": media_type, "digest": digest, "size": len(content), **more}


def image(
    layers: Sequence[bytes] = (LAYER,),
    config: bytes = CONFIG,
    /,
    *,
    media_type: str | None = OCI_MANIFEST,
    algorithm: str = "sha256",
    **fields: Any,
) -> bytes:
    """An image manifest of these contents; `media_type` None leaves the field out, `fields` replace or add."""
    document = {
        "schemaVersion": 2,
        **({} if media_type is None else {"mediaType": media_type}),
        "config": descriptor(config, CONFIG_TYPE, algorithm=algorithm),
        "layers": [descriptor(layer, algorithm=algorithm) for layer in layers],
        **fields,
    }
    return json.dumps(document, indent=2).encode()


def index(
    children: Sequence[dict[str, Any]], /, *, media_type: str | None = OCI_INDEX, **fields: Any
) -> bytes:
    """An image index of these descriptors; `media_type` None leaves the field out."""
    named = {} if media_type is None else {"mediaType": media_type}
    return json.dumps({"schemaVersion": 2, **named, "manifests": list(children), **fields}).encode()
