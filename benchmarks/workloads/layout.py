"""An image as a build makes it: layers of many files, compressed, in a folder of the OCI image layout."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import tarfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.content import MANIFEST_TYPE
from benchmarks.outcome import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _typeshed import ReadableBuffer

NAME = "it"
# A base, what a distribution's packages add, what a language's packages add, and the program's own last few.
_SHARES = (0.3, 0.2, 0.15, 0.1, 0.1, 0.05, 0.05, 0.03, 0.015, 0.005)
_MEDIAN_FILE_BYTES, _SPREAD, _LARGEST_FILE_BYTES = 4_000, 2.0, 8 * MIB
_WORDS = 20_000


@dataclass(frozen=True)
class Layout:
    """A folder with one image, named NAME, whose blobs have `size` bytes together."""

    path: str
    size: int


def make_layout(path: str, size: int) -> Layout:
    """An image of ten layers with about `size` bytes; the same one every time."""
    os.makedirs(f"{path}/blobs/sha256")
    files = _Files(random.Random(size))
    layers = [_make_layer(path, files, int(size * share)) for share in _SHARES]
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["/bin/sh"]},
        "rootfs": {"type": "layers", "diff_ids": [layer.uncompressed for layer in layers]},
    }
    descriptors = [layer.descriptor("application/vnd.oci.image.layer.v1.tar+gzip") for layer in layers]
    configured = _put(path, "application/vnd.oci.image.config.v1+json", config)
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": configured,
        "layers": descriptors,
    }
    entry = _put(path, MANIFEST_TYPE, manifest) | {"annotations": {"org.opencontainers.image.ref.name": NAME}}
    for name, content in {
        "oci-layout": {"imageLayoutVersion": "1.0.0"},
        "index.json": {"schemaVersion": 2, "manifests": [entry]},
    }.items():
        with open(f"{path}/{name}", "w", encoding="ascii") as file:
            json.dump(content, file)
    blobs = f"{path}/blobs/sha256"
    return Layout(path, sum(os.path.getsize(f"{blobs}/{blob}") for blob in os.listdir(blobs)))


class _Files:
    """Files such as systems have: many small and few large ones, half of them text, the others compressed already."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        letters = "etaoinshrdlucmfwypvbgkqjxz_ .;(){}\n"
        words = ["".join(chance.choices(letters, k=chance.randint(2, 12))) for _ in range(_WORDS)]
        self._text = " ".join(chance.choices(words, k=2 * _LARGEST_FILE_BYTES // 8)).encode()

    def __iter__(self) -> Iterator[bytes]:
        while True:
            size = int(self._chance.lognormvariate(0, _SPREAD) * _MEDIAN_FILE_BYTES)
            size = min(size, _LARGEST_FILE_BYTES)
            if self._chance.random() < 0.5:
                start = self._chance.randrange(len(self._text))
                yield self._text[start : start + size]
            else:
                yield self._chance.randbytes(size)


class _Layer(io.RawIOBase):
    """What is written goes, compressed, into a blob; its digests and size are known at the end."""

    def __init__(self, path: str) -> None:
        self._blobs = f"{path}/blobs/sha256"
        self._file = open(f"{self._blobs}/unfinished", "wb")  # noqa: SIM115 - `finish` closes it
        self._packer = zlib.compressobj(1, wbits=31)
        self._before, self._after = hashlib.sha256(), hashlib.sha256()
        self.size = 0

    def write(self, content: ReadableBuffer, /) -> int:
        self._before.update(content)
        self._pack(self._packer.compress(content))
        return memoryview(content).nbytes

    def _pack(self, content: bytes) -> None:
        self._after.update(content)
        self.size += self._file.write(content)

    def finish(self) -> None:
        self._pack(self._packer.flush())
        self._file.close()
        os.rename(f"{self._blobs}/unfinished", f"{self._blobs}/{self._after.hexdigest()}")

    @property
    def uncompressed(self) -> str:
        return f"sha256:{self._before.hexdigest()}"

    def descriptor(self, media_type: str) -> dict[str, object]:
        return {"mediaType": media_type, "size": self.size, "digest": f"sha256:{self._after.hexdigest()}"}


def _make_layer(path: str, files: _Files, size: int) -> _Layer:
    layer = _Layer(path)
    with tarfile.open(fileobj=layer, mode="w|") as archive:
        for number, content in enumerate(files):
            member = tarfile.TarInfo(f"usr/lib/{number % 50}/{number}")
            member.size, member.mode = len(content), 0o644
            archive.addfile(member, io.BytesIO(content))
            if layer.size >= size:
                break
    layer.finish()
    return layer


def _put(path: str, media_type: str, document: object) -> dict[str, object]:
    content = json.dumps(document).encode()
    digest = hashlib.sha256(content).hexdigest()
    with open(f"{path}/blobs/sha256/{digest}", "wb") as file:
        file.write(content)
    return {"mediaType": media_type, "size": len(content), "digest": f"sha256:{digest}"}
