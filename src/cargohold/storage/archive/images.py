"""What an archive of images holds, by digests: an OCI image layout (image-spec, image-layout.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from cargohold.storage.archive.index_json import read_descriptors
from cargohold.storage.archive.reading import read_file
from cargohold.storage.archive.tar import ArchiveInvalid
from cargohold.types.digest import Digest
from cargohold.types.errors import DigestInvalid
from cargohold.types.oci import Descriptor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cargohold.storage.archive.reading import Archive

LAYOUT_FILE: Final = "oci-layout"
LAYOUT: Final = b'{"imageLayoutVersion":"1.0.0"}'
INDEX_FILE: Final = "index.json"
REF_NAME: Final = "org.opencontainers.image.ref.name"

_SMALL: Final = 64 << 10


class Images(Protocol):
    """Images and their content. All raise ArchiveInvalid, and OSError."""

    def entries(self) -> Iterator[Descriptor]:
        """The manifests that the archive names, as often as it names them. The names are annotations."""
        ...

    def size(self, digest: Digest) -> int | None:
        """How many bytes the content of a digest has; None where it is not here."""
        ...

    def read(self, digest: Digest, most: int) -> bytes:
        """Content whole. Raises ArchiveInvalid too where it is not here, is another, or larger than `most` bytes."""
        ...

    def pieces(self, digest: Digest) -> Iterator[bytes]:
        """Content that is not checked against its digest."""
        ...


def path_of(digest: Digest) -> str:
    """Where a layout has the content of a digest."""
    return f"blobs/{digest.replace(':', '/', 1)}"


class LayoutImages:
    """An OCI image layout. Raises ArchiveInvalid where it is none, or of another version."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        try:
            version = _LAYOUT.decode(read_file(archive, LAYOUT_FILE, _SMALL)).version
        except (ValueError, RecursionError) as error:
            raise ArchiveInvalid(f"{LAYOUT_FILE} is not what it should be: {error}") from None
        if not version.startswith("1."):
            raise ArchiveInvalid(f"the layout has version {version[:32]!r}; what is known here is 1.0.0")
        if archive.size(INDEX_FILE) is None:
            raise ArchiveInvalid(f"{INDEX_FILE} is missing")

    def entries(self) -> Iterator[Descriptor]:
        return (entry for entry, _ in self.written())

    def written(self) -> Iterator[tuple[Descriptor, bytes]]:
        """The entries, each with the JSON that it is written as, up to white space."""
        for number, value in enumerate(read_descriptors(self._archive.pieces(INDEX_FILE))):
            try:
                entry = msgspec.convert(value, Descriptor, dec_hook=to_digest)
                text = msgspec.json.encode(value)
            except ValueError as error:
                raise ArchiveInvalid(f"manifests[{number}] of {INDEX_FILE}: {error}") from None
            yield entry, text

    def size(self, digest: Digest) -> int | None:
        return self._archive.size(path_of(digest))

    def read(self, digest: Digest, most: int) -> bytes:
        return checked(digest, read_file(self._archive, path_of(digest), most))

    def pieces(self, digest: Digest) -> Iterator[bytes]:
        return self._archive.pieces(path_of(digest))


def checked(digest: Digest, content: bytes) -> bytes:
    """The content, if it is that of the digest. Raises ArchiveInvalid."""
    found = Digest.of(content, digest.algorithm)
    if found != digest:
        raise ArchiveInvalid(f"the bytes of {digest} are those of {found}")
    return content


class _Version(msgspec.Struct, frozen=True):
    version: str = msgspec.field(name="imageLayoutVersion")


_LAYOUT: Final = msgspec.json.Decoder(_Version)


def to_digest(_: type, value: Any) -> Digest:  # noqa: ANN401 - what JSON may hold
    """The digest that a value is. Raises ValueError."""
    try:
        return Digest(value)
    except (DigestInvalid, TypeError) as error:
        raise ValueError(str(error)) from None
