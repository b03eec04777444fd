"""Manifests and indexes: what the media types demand, what a document references, what it refers to.

The documents are those of the OCI Image Specification (manifest.md, image-index.md, descriptor.md) and
Docker's two, which have the same fields. A body is judged once, by `parse_manifest`, when it is pushed;
content that is already stored, perhaps by another server and by other rules, is only looked at, by functions
that never raise.

JSON leaves room for bodies that two readers understand differently. Clients are mostly written in Go, whose
decoder takes the last of several equal keys, so do we; it takes `null` for absent, so do we (a list that was
never filled is written `null` there, and counts as empty where it is required); and it takes a key for a
known field whatever the case of its letters, which we cannot follow without guessing: such keys are refused.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec

from cargohold.types.digest import Digest
from cargohold.types.errors import DigestInvalid, ManifestInvalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_MANIFEST_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+json"
DOCKER_SCHEMA1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"
OCTET_STREAM = "application/octet-stream"

IMAGE_TYPES = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
INDEX_TYPES = frozenset({OCI_INDEX, DOCKER_MANIFEST_LIST})
MANIFEST_TYPES = IMAGE_TYPES | INDEX_TYPES
_NAME_THEMSELVES = frozenset({DOCKER_MANIFEST, DOCKER_MANIFEST_LIST})

# Layers that a registry need not hold (layer.md, "Non-Distributable Layers").
NONDISTRIBUTABLE = frozenset(
    {
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
        "application/vnd.docker.image.rootfs.foreign.diff.tar",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    }
)


class _Object(msgspec.Struct, frozen=True):
    """An object whatever its fields: they are passed over, and take no memory."""


class Descriptor(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What names other content: its type, digest and size in bytes (descriptor.md, "Properties").

    Raises ValueError where `data` is not the content that it names: clients use it in place of a download.
    """

    media_type: Annotated[str, msgspec.Meta(min_length=1)]
    digest: Digest
    size: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
    artifact_type: str | None = None
    annotations: dict[str, str] | None = None
    urls: list[str] | None = None
    platform: _Object | None = None
    data: bytes | None = None

    def __post_init__(self) -> None:
        if self.data and (
            len(self.data) != self.size or self.digest != Digest.of(self.data, self.digest.algorithm)
        ):
            raise ValueError("the data is not the content that digest and size name")


class Referrer(msgspec.Struct, frozen=True):
    """A manifest seen from its subject: the descriptor (JSON) stands in the subject's list of referrers."""

    subject: Digest
    descriptor: bytes


class Manifest(msgspec.Struct, frozen=True):
    """A manifest or index that is what its media type demands; `content` is its bytes as they were sent.

    `blobs` are the config and the layers that must be present, `manifests` an index's children; each digest
    once, in the order of the document.
    """

    media_type: str
    content: bytes
    blobs: tuple[Digest, ...]
    manifests: tuple[Digest, ...]
    subject: Digest | None

    def referrer(self, digest: Digest) -> Referrer | None:
        """How it stands among its subject's referrers, `digest` being its own; None without a subject."""
        return None if self.subject is None else referrer_of(digest, self.content)


def parse_manifest(content: bytes, content_type: str | None) -> Manifest:
    """The manifest that a body is, by the type that its Content-Type names (its parameters do not count).

    Without a Content-Type the body says it: by `mediaType`, or by the fields that it has. Fields that are not
    known are accepted. Raises ManifestInvalid, with the place in the body.
    """
    document = _read(content)
    media_type = _media_type(document.media_type, content, content_type)
    if document.schema_version != 2:  # noqa: PLR2004 - the one version there is
        raise ManifestInvalid("schemaVersion: must be 2")
    is_image = document.config is not None or document.layers not in (None, msgspec.UNSET)
    if is_image and document.manifests not in (None, msgspec.UNSET):
        raise ManifestInvalid("a body has either manifests, or config and layers, not both")
    blobs, manifests = _referenced(document, media_type)
    return Manifest(
        media_type=media_type,
        content=content,
        blobs=tuple(dict.fromkeys(blobs)),
        manifests=tuple(dict.fromkeys(manifests)),
        subject=document.subject.digest if document.subject else None,
    )


class _Document(msgspec.Struct, frozen=True, rename="camel"):
    schema_version: int
    media_type: str | None = None
    artifact_type: str | None = None
    config: Descriptor | None = None
    layers: tuple[Descriptor, ...] | msgspec.UnsetType | None = msgspec.UNSET
    manifests: tuple[Descriptor, ...] | msgspec.UnsetType | None = msgspec.UNSET
    subject: Descriptor | None = None
    annotations: dict[str, str] | None = None


def _to_digest(_: type, value: Any) -> Digest:  # noqa: ANN401 - what JSON may hold
    if not isinstance(value, str):
        raise ValueError("a digest is a string")  # noqa: TRY004 - what the decoder adds the place to
    try:
        return Digest(value)
    except DigestInvalid as error:
        raise ValueError(error.message) from None


class _KnownDescriptor(
    Descriptor, frozen=True, rename="camel", omit_defaults=True, forbid_unknown_fields=True
):
    """A descriptor in which nothing else is said."""


class _KnownDocument(_Document, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A document all of whose keys are known, as most are, and so none in other letters."""

    config: _KnownDescriptor | None = None
    layers: tuple[_KnownDescriptor, ...] | msgspec.UnsetType | None = msgspec.UNSET
    manifests: tuple[_KnownDescriptor, ...] | msgspec.UnsetType | None = msgspec.UNSET
    subject: _KnownDescriptor | None = None


_KNOWN = msgspec.json.Decoder(_KnownDocument, dec_hook=_to_digest)
_DOCUMENT = msgspec.json.Decoder(_Document, dec_hook=_to_digest)
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw] | None)
_OBJECTS = msgspec.json.Decoder(list[dict[str, msgspec.Raw]] | None)


def _read(content: bytes) -> _Document:
    """Passes over what is not known: four megabytes of brackets would take a hundred of memory."""
    try:
        content.decode()
        # Any other document is read once more, which says what is wrong with it, if anything is.
        with suppress(msgspec.ValidationError):
            return _KNOWN.decode(content)
        document = _DOCUMENT.decode(content)
        fields = _OBJECT.decode(content) or {}
    except RecursionError:
        raise ManifestInvalid("the manifest is nested too deeply") from None
    except msgspec.ValidationError as error:
        raise ManifestInvalid(_place_first(error)) from None
    except ValueError as error:
        raise ManifestInvalid(f"the manifest is not JSON in UTF-8: {error}") from None
    _refuse_other_case(_DOCUMENT_NAMES, fields, "")
    for place in ("config", "subject"):
        _refuse_other_case(_DESCRIPTOR_NAMES, _OBJECT.decode(fields.get(place, _NULL)) or (), place)
    for place in ("layers", "manifests"):
        for index, keys in enumerate(_OBJECTS.decode(fields.get(place, _NULL)) or ()):
            _refuse_other_case(_DESCRIPTOR_NAMES, keys, f"{place}[{index}]")
    return document


def _names_of(struct: type[msgspec.Struct]) -> Mapping[str, str]:
    return {field.encode_name.casefold(): field.encode_name for field in msgspec.structs.fields(struct)}


_DOCUMENT_NAMES = _names_of(_Document)
_DESCRIPTOR_NAMES = _names_of(Descriptor)


def _refuse_other_case(names: Mapping[str, str], keys: Iterable[str], place: str) -> None:
    for key in keys:
        name = names.get(key.casefold(), key)
        if name != key:
            where = f"{place}.{name}" if place else name
            raise ManifestInvalid(
                f"{where}: written in other letters, {key!r}, which clients read differently"
            )


def _place_first(error: msgspec.ValidationError) -> str:
    reason, found, path = str(error).rpartition(" - at `$")
    if not found:
        reason, path = path, ""
    where = path.removesuffix("`").removeprefix(".") or "the manifest"
    return f"{where}: {reason[:1].lower()}{reason[1:]}"


def _media_type(written: str | None, content: bytes, content_type: str | None) -> str:
    """The one type that the body (`written`) and the Content-Type agree on."""
    declared = (content_type or "").partition(";")[0].strip().lower()
    media_type = declared or written or detect_media_type(content)
    if media_type not in MANIFEST_TYPES:
        supported = ", ".join(sorted(MANIFEST_TYPES))
        raise ManifestInvalid(
            f"the media type of a manifest must be one of {supported}; not {media_type[:100]!r}"
        )
    if written and written != media_type:
        raise ManifestInvalid(f"mediaType: must be the Content-Type, {media_type}; not {written[:100]!r}")
    if not written and media_type in _NAME_THEMSELVES:
        raise ManifestInvalid(f"mediaType: required in {media_type}")
    return media_type


def _referenced(document: _Document, media_type: str) -> tuple[list[Digest], list[Digest]]:
    if media_type in INDEX_TYPES:
        if document.manifests is msgspec.UNSET:
            raise ManifestInvalid(f"manifests: required in {media_type}")
        return [], [child.digest for child in document.manifests or ()]
    if document.config is None:
        raise ManifestInvalid(f"config: required in {media_type}")
    if document.layers is msgspec.UNSET:
        raise ManifestInvalid(f"layers: required in {media_type}")
    layers = [layer.digest for layer in document.layers or () if layer.media_type not in NONDISTRIBUTABLE]
    return [document.config.digest, *layers], []


_ABSENT, _NULL = msgspec.Raw(b""), msgspec.Raw(b"null")


class _Outline(msgspec.Struct, frozen=True, rename="camel"):
    """As much of a stored document as tells its type and its subject, taken as it comes."""

    schema_version: Any = None
    media_type: Any = None
    artifact_type: Any = None
    config: msgspec.Raw = _NULL
    manifests: msgspec.Raw = _ABSENT
    signatures: msgspec.Raw = _ABSENT
    subject: msgspec.Raw = _NULL
    annotations: msgspec.Raw = _NULL


class _Subject(msgspec.Struct, frozen=True):
    digest: Digest


class _Named(msgspec.Struct, frozen=True, rename="camel"):
    media_type: str


_OUTLINE = msgspec.json.Decoder(_Outline)
_SUBJECT = msgspec.json.Decoder(_Subject, dec_hook=_to_digest)
_NAMED = msgspec.json.Decoder(_Named)
_ANNOTATIONS = msgspec.json.Decoder(dict[str, Any])

_Decoded = TypeVar("_Decoded")


def _loosely(decoder: msgspec.json.Decoder[_Decoded], text: bytes | msgspec.Raw) -> _Decoded | None:
    try:
        return decoder.decode(text)
    except (ValueError, RecursionError):
        return None


# RFC 6838, 4.2: what can stand in a header, since it will; and nothing that a browser would show as a page of ours.
_MEDIA_TYPE = re.compile(r"(?i:application)/[a-zA-Z0-9][a-zA-Z0-9!#$&^_.+-]{0,126}")


def detect_media_type(content: bytes) -> str:
    """The type of stored content: the one that it names, or the one whose fields it has.

    Never raises: what cannot be read is `application/octet-stream`.
    """
    # Most name it, and the rest need not be taken apart.
    named = _loosely(_NAMED, content)
    if named is not None and named.media_type in MANIFEST_TYPES:
        return named.media_type
    return _type_of(_loosely(_OUTLINE, content))


def _type_of(outline: _Outline | None) -> str:
    if outline is None:
        return OCTET_STREAM
    if isinstance(outline.media_type, str) and _MEDIA_TYPE.fullmatch(outline.media_type):
        return outline.media_type
    if outline.schema_version == 1:
        return DOCKER_SCHEMA1 if outline.signatures == _ABSENT else DOCKER_SCHEMA1_SIGNED
    children = outline.manifests
    if children == _ABSENT or (children == _NULL and outline.config != _NULL):
        return OCI_MANIFEST
    return OCI_INDEX


def referrer_of(digest: Digest, content: bytes) -> Referrer | None:
    """How stored content stands among the referrers of its subject; None where it names no valid subject.

    The descriptor is that of spec.md, "Listing Referrers": an image without an `artifactType` is listed with
    its config's media type, and the annotations are the manifest's own. Never raises.
    """
    outline = _loosely(_OUTLINE, content)
    subject = _loosely(_SUBJECT, outline.subject) if outline else None
    if outline is None or subject is None:
        return None
    config = _loosely(_NAMED, outline.config)
    artifact_type = outline.artifact_type or (config.media_type if config else None)
    annotations = _loosely(_ANNOTATIONS, outline.annotations) or {}
    descriptor = Descriptor(
        media_type=_type_of(outline),
        digest=digest,
        size=len(content),
        artifact_type=artifact_type if artifact_type and isinstance(artifact_type, str) else None,
        annotations={key: value for key, value in annotations.items() if isinstance(value, str)} or None,
    )
    return Referrer(subject.digest, msgspec.json.encode(descriptor, enc_hook=str))


def referrers_index(descriptors: Sequence[bytes]) -> bytes:
    """The image index (JSON) that lists descriptors which are JSON already."""
    head = b'{"schemaVersion":2,"mediaType":"%s","manifests":[' % OCI_INDEX.encode()
    return b"".join((head, b",".join(descriptors), b"]}"))


class _Typed(msgspec.Struct, frozen=True, rename="camel"):
    artifact_type: str | None = None


def descriptor_artifact_type(descriptor: bytes) -> str | None:
    """The `artifactType` of a descriptor that `referrer_of` made; None where it has none."""
    return msgspec.json.decode(descriptor, type=_Typed).artifact_type
