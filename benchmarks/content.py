"""What is pushed and pulled: blobs that all differ and cost nearly nothing to make, and an image of them."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.outcome import MIB

if TYPE_CHECKING:
    from collections.abc import Sequence

REPOSITORY = "bench/image"
TAG = "latest"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
_TAIL_BYTES = 64


@dataclass(frozen=True)
class Blob:
    """The first bytes of a file that all blobs share, and a tail that no other has."""

    path: str
    shared: int
    tail: bytes
    digest: str

    @property
    def size(self) -> int:
        """The length in bytes."""
        return self.shared + len(self.tail)

    def write_to(self, path: str) -> None:
        """Make a file of it."""
        with open(self.path, "rb") as source, open(path, "wb") as target:
            left = self.shared
            while left:
                left -= target.write(source.read(min(MIB, left)))
            target.write(self.tail)


class Source:
    """Makes blobs of at most `largest` bytes, in `folder`.

    They share all but their end, so that the hash of a further one is that of its last 64 bytes, and so that a
    client sends it from one file that is in memory anyway.
    """

    def __init__(self, folder: str, largest: int) -> None:
        self._path = os.path.join(folder, "shared")
        self._hashes: dict[int, hashlib._Hash] = {}
        self._made = 0
        with open(self._path, "wb") as file:
            file.writelines(os.urandom(MIB) for _ in range(0, largest, MIB))

    def blob(self, size: int) -> Blob:
        """A blob of that many bytes, unlike all before."""
        shared = max(0, size - _TAIL_BYTES)
        self._made += 1
        tail = f"{self._made:0{_TAIL_BYTES}d}".encode()
        whole = self._hash_of(shared).copy()
        whole.update(tail)
        return Blob(self._path, shared, tail, f"sha256:{whole.hexdigest()}")

    def blobs(self, size: int, count: int) -> list[Blob]:
        """So many of them."""
        return [self.blob(size) for _ in range(count)]

    def _hash_of(self, shared: int) -> hashlib._Hash:
        if shared not in self._hashes:
            hasher = hashlib.sha256()
            with open(self._path, "rb") as file:
                for start in range(0, shared, MIB):
                    hasher.update(file.read(min(MIB, shared - start)))
            self._hashes[shared] = hasher
        return self._hashes[shared]


def manifest(config: Blob, layers: Sequence[Blob], revision: int = 0) -> bytes:
    """An image of these blobs; another revision is another manifest of the same length."""
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": _descriptor("application/vnd.oci.image.config.v1+json", config),
            "layers": [_descriptor("application/vnd.oci.image.layer.v1.tar+gzip", blob) for blob in layers],
            "annotations": {"org.opencontainers.image.revision": f"{revision:040d}"},
        },
        indent=2,
    ).encode()


def _descriptor(media_type: str, blob: Blob) -> dict[str, object]:
    return {"mediaType": media_type, "size": blob.size, "digest": blob.digest}
