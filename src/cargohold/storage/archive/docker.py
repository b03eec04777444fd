"""What `docker save` writes, read as if it were an OCI image layout.

`manifest.json` names the config, the layers and the tags of each image. There are no manifests: they are made here,
the same for the same image each time. Layers are what they are in the archive, mostly tars that are not compressed.
"""

from __future__ import annotations

import hashlib
import zlib
from typing import TYPE_CHECKING, Final

import msgspec

from cargohold.storage.archive.images import LAYOUT_FILE, REF_NAME, LayoutImages, checked, path_of, to_digest
from cargohold.storage.archive.reading import read_file
from cargohold.storage.archive.tar import ArchiveInvalid, inner_name
from cargohold.types.digest import Algorithm, Digest, Hasher
from cargohold.types.errors import DigestInvalid
from cargohold.types.oci import IMAGE_TYPES, OCI_MANIFEST, Descriptor

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cargohold.storage.archive.images import Images
    from cargohold.storage.archive.reading import Archive

MANIFEST_FILE: Final = "manifest.json"
_DIR_FILE: Final = "version"
_CONFIG_TYPE: Final = "application/vnd.oci.image.config.v1+json"
_LAYER_TYPE: Final = "application/vnd.oci.image.layer.v1.tar"
_MOST_JSON: Final = 4 << 20
_GZIP: Final = b"\x1f\x8b"
_OTHER_COMPRESSIONS: Final = (b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ")
_PIECE: Final = 1 << 20


class Item(msgspec.Struct, frozen=True, rename="pascal"):
    """An image in `manifest.json`; the names of files."""

    config: str
    layers: list[str] | None = None
    repo_tags: list[str] | None = None


def open_images(archive: Archive) -> Images:
    """What an archive holds, whichever of the two it is. Raises ArchiveInvalid, and OSError.

    Docker writes both. Its 25.0 has the layers of its OCI manifests in no order: where the two do not say the same,
    its own manifest counts.
    """
    items = _read_items(archive)
    if archive.size(LAYOUT_FILE) is not None:
        layout = LayoutImages(archive)
        return layout if _agree(layout, items) else DockerImages(archive, items)
    if items:
        return DockerImages(archive, items)
    if archive.size("repositories") is not None:
        raise ArchiveInvalid(
            "it was saved by a Docker older than 1.10: load it into a newer one, and save it again"
        )
    raise ArchiveInvalid(f"it holds no images: neither {LAYOUT_FILE} nor {MANIFEST_FILE} is at its top")


def _agree(layout: LayoutImages, items: Iterable[Item]) -> bool:
    layers = {item.config: item.layers or [] for item in items}
    for entry in layout.entries() if layers else ():
        if entry.media_type in IMAGE_TYPES and layout.size(entry.digest) is not None:
            try:
                image = _IMAGE.decode(layout.read(entry.digest, _MOST_JSON))
            except (ValueError, RecursionError):
                continue
            paths = [path_of(layer.digest) for layer in image.layers or ()]
            if layers.get(path_of(image.config.digest), paths) != paths:
                return False
    return True


def _read_items(archive: Archive) -> list[Item]:
    """The images of an archive; none where it has no `manifest.json`. Raises ArchiveInvalid."""
    if archive.size(MANIFEST_FILE) is None:
        return []
    try:
        return _ITEMS.decode(read_file(archive, MANIFEST_FILE, _MOST_JSON))
    except (ValueError, RecursionError) as error:
        if archive.size(_DIR_FILE) is not None:
            raise ArchiveInvalid(
                "it is what skopeo writes to dir:, which is not read here: copy to oci: or docker-archive: instead"
            ) from None
        raise ArchiveInvalid(f"{MANIFEST_FILE} is not what it should be: {error}") from None


class DockerImages:
    """Images as `docker save` writes them. See `Images`. Raises ArchiveInvalid."""

    def __init__(self, archive: Archive, items: Iterable[Item]) -> None:
        self._archive = archive
        self._files: dict[Digest, str] = {}
        self._contents: dict[Digest, bytes] = {}
        self._layers: dict[tuple[str, Digest], Descriptor] = {}
        self._entries = [entry for item in items for entry in self._image(item)]

    def entries(self) -> Iterator[Descriptor]:
        return iter(self._entries)

    def size(self, digest: Digest) -> int | None:
        content = self._contents.get(digest)
        if content is not None:
            return len(content)
        return self._archive.size(self._files[digest]) if digest in self._files else None

    def read(self, digest: Digest, most: int) -> bytes:
        size = self.size(digest)
        if size is None or size > most:
            raise ArchiveInvalid(f"{digest} is missing, or larger than {most} bytes")
        return checked(digest, b"".join(self.pieces(digest)))

    def pieces(self, digest: Digest) -> Iterator[bytes]:
        if digest in self._contents:
            yield self._contents[digest]
        elif digest in self._files:
            yield from self._archive.pieces(self._files[digest])
        else:
            raise ArchiveInvalid(f"{digest} is missing")

    def _image(self, item: Item) -> Iterator[Descriptor]:
        """Its descriptor, once for each of its tags, or once where it has none."""
        name = inner_name(item.config)
        config = read_file(self._archive, name, _MOST_JSON)
        diffs = _diff_ids(name, config)
        layers = [inner_name(layer) for layer in item.layers or ()]
        if len(diffs) != len(layers):
            raise ArchiveInvalid(f"{name} tells of {len(diffs)} layers, and {MANIFEST_FILE} of {len(layers)}")
        manifest = msgspec.json.encode(
            {
                "schemaVersion": 2,
                "mediaType": OCI_MANIFEST,
                "config": self._name(_CONFIG_TYPE, name, config),
                "layers": [self._layer(*each) for each in zip(layers, diffs, strict=True)],
            },
            enc_hook=str,
        )
        digest = Digest.of(manifest)
        self._contents[digest] = manifest
        for tag in item.repo_tags or [""]:
            named = {REF_NAME: tag} if tag else None
            yield Descriptor(OCI_MANIFEST, digest, len(manifest), annotations=named)

    def _name(self, media_type: str, name: str, content: bytes) -> Descriptor:
        digest = Digest.of(content)
        self._files[digest] = name
        return Descriptor(media_type, digest, len(content))

    def _layer(self, name: str, diff: Digest) -> Descriptor:
        found = self._layers.get((name, diff))
        if found is None:
            found = self._layers[name, diff] = self._look_at(name, diff)
            self._files[found.digest] = name
        return found

    def _look_at(self, name: str, diff: Digest) -> Descriptor:
        """A layer that is not compressed has its digest in the config; of another it is found by reading it."""
        size = self._archive.size(name)
        if size is None:
            raise ArchiveInvalid(f"{name} is missing")
        begin = next(iter(self._archive.pieces(name)), b"")
        if begin.startswith(_OTHER_COMPRESSIONS):
            raise ArchiveInvalid(
                f"{name} is compressed by other means than gzip, which cannot be checked here"
            )
        if not begin.startswith(_GZIP):
            return Descriptor(media_type=_LAYER_TYPE, digest=diff, size=size)
        digest, unpacked = _digests(name, self._archive.pieces(name), diff.algorithm)
        if unpacked != diff:
            raise ArchiveInvalid(f"the layer {name} is that of {unpacked}, and the config says {diff}")
        return Descriptor(media_type=f"{_LAYER_TYPE}+gzip", digest=digest, size=size)


def _digests(name: str, pieces: Iterable[bytes], algorithm: Algorithm) -> tuple[Digest, Digest]:
    """Of what is compressed, as it is and unpacked; never more than a piece is in memory."""
    packed, unpacked = Hasher(Algorithm.SHA256), hashlib.new(algorithm.value)
    stream = zlib.decompressobj(wbits=31)
    try:
        for piece in pieces:
            packed.update(piece)
            rest = piece
            while rest:
                unpacked.update(stream.decompress(rest, _PIECE))
                rest = stream.unconsumed_tail
                if stream.eof:
                    rest, stream = stream.unused_data, zlib.decompressobj(wbits=31)
    except zlib.error as error:
        raise ArchiveInvalid(f"the layer {name} cannot be unpacked: {error}") from None
    return packed.digest(), Digest(f"{algorithm.value}:{unpacked.hexdigest()}")


class _RootFs(msgspec.Struct, frozen=True):
    diff_ids: list[str] | None = None


class _Config(msgspec.Struct, frozen=True):
    rootfs: _RootFs


class _Image(msgspec.Struct, frozen=True):
    config: Descriptor
    layers: list[Descriptor] | None = None


_IMAGE: Final = msgspec.json.Decoder(_Image, dec_hook=to_digest)
_ITEMS: Final = msgspec.json.Decoder(list[Item])
_CONFIG: Final = msgspec.json.Decoder(_Config)


def _diff_ids(name: str, config: bytes) -> list[Digest]:
    try:
        return [Digest(text) for text in _CONFIG.decode(config).rootfs.diff_ids or ()]
    except (ValueError, RecursionError, DigestInvalid) as error:
        raise ArchiveInvalid(f"the config {name} does not tell its layers: {error}") from None
