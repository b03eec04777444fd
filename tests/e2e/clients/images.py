"""Images made byte by byte in an OCI layout: the tests know every digest before a client touches them."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.e2e.clients.repository import OCI_INDEX, OCI_MANIFEST, sha256

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
NAME = "org.opencontainers.image.ref.name"

Layer = dict[str, bytes]


@dataclass(frozen=True)
class Layout:
    """A folder in the OCI image layout whose one entry is named `it`."""

    path: Path

    @property
    def entry(self) -> dict[str, Any]:
        """The descriptor of the image or index."""
        (entry,) = json.loads((self.path / "index.json").read_text())["manifests"]
        assert isinstance(entry, dict)
        return entry

    @property
    def digest(self) -> str:
        """The digest of the image or index."""
        digest: str = self.entry["digest"]
        return digest

    @property
    def content(self) -> bytes:
        """The bytes of the manifest or index."""
        return self.blob(self.digest)

    @property
    def blobs(self) -> dict[str, bytes]:
        """Every blob of the layout by digest, manifests among them, each checked against its name."""
        found = {f"sha256:{file.name}": file.read_bytes() for file in (self.path / "blobs/sha256").iterdir()}
        assert all(digest == sha256(content) for digest, content in found.items())
        return found

    def blob(self, digest: str) -> bytes:
        """One blob of the layout."""
        return (self.path / "blobs" / digest.replace(":", "/")).read_bytes()

    def tree(self, descriptor: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
        """The media type and the bytes of all that `descriptor` leads to, in the order of a push."""
        content = self.blob(descriptor["digest"])
        if descriptor["mediaType"] in {OCI_MANIFEST, OCI_INDEX}:
            document = json.loads(content)
            below = [*document.get("manifests", ()), *document.get("layers", ())]
            for child in (*below, *filter(None, [document.get("config")])):
                yield from self.tree(child)
        yield descriptor["mediaType"], content

    def put(self, media_type: str, content: bytes) -> dict[str, Any]:
        """Adds a blob; returns its descriptor."""
        digest = sha256(content)
        file = self.path / "blobs" / digest.replace(":", "/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        return {"mediaType": media_type, "digest": digest, "size": len(content)}

    def finish(self, entry: dict[str, Any]) -> Layout:
        """Makes `entry` the layout's one entry."""
        (self.path / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        named = entry | {"annotations": {NAME: "it"}}
        (self.path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}))
        return self


def packed(files: Mapping[str, bytes]) -> bytes:
    """A tar archive of executable files, the same bytes each time."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def put_image(
    layout: Layout, layers: Sequence[Layer], architecture: str, command: Sequence[str]
) -> dict[str, Any]:
    """Adds an image of one platform; returns its descriptor."""
    archives = [packed(files) for files in layers]
    descriptors = [
        layout.put(LAYER, gzip.compress(archive, compresslevel=1, mtime=0)) for archive in archives
    ]
    config = {
        "architecture": architecture,
        "os": "linux",
        "config": {"Cmd": list(command)},
        "rootfs": {"type": "layers", "diff_ids": [sha256(archive) for archive in archives]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": layout.put(CONFIG, json.dumps(config).encode()),
        "layers": descriptors,
    }
    return layout.put(OCI_MANIFEST, json.dumps(manifest).encode())


def make_image(
    path: Path, layers: Sequence[Layer], architecture: str = "amd64", command: Sequence[str] = ()
) -> Layout:
    """Makes a layout of an image of one platform."""
    layout = Layout(path)
    return layout.finish(put_image(layout, layers, architecture, command))


def make_index(path: Path, images: Mapping[str, Sequence[Layer]]) -> Layout:
    """Makes a layout of an index of images, by architecture."""
    layout = Layout(path)
    children = [
        put_image(layout, layers, name, ()) | {"platform": {"os": "linux", "architecture": name}}
        for name, layers in images.items()
    ]
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children}
    return layout.finish(layout.put(OCI_INDEX, json.dumps(index).encode()))
