"""What a stored manifest refers to, whatever kind of manifest it is, so that all of it can be moved with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from cargohold.storage.archive.images import to_digest
from cargohold.types.mentions import mentioned, unpack
from cargohold.types.oci import (
    IMAGE_TYPES,
    INDEX_TYPES,
    MANIFEST_TYPES,
    NONDISTRIBUTABLE,
    Descriptor,
    detect_media_type,
    referrer_of,
)

if TYPE_CHECKING:
    from cargohold.types.digest import Digest


class Named(NamedTuple):
    """Content that a manifest names. It need not be there where it is `optional`; `size` is None if nobody tells it."""

    digest: Digest
    media_type: str
    size: int | None
    optional: bool

    @property
    def is_manifest(self) -> bool:
        """Whether it is a manifest, by its type: the child of an index may be a blob."""
        return self.media_type in MANIFEST_TYPES


class Outline(NamedTuple):
    """A manifest's own type, and what it names: an index its children, an image its blobs, each digest once.

    Of a manifest that is neither, or is not what its type demands (`is_known` is False), these are all digests that it
    mentions, apart from its subject; which of them it needs, nobody can say.
    """

    media_type: str
    children: tuple[Named, ...]
    blobs: tuple[Named, ...]
    is_known: bool


def outline_of(digest: Digest, content: bytes) -> Outline:
    """The outline of a manifest of this digest. Never raises."""
    media_type = detect_media_type(content)
    try:
        if media_type in INDEX_TYPES:
            children = _INDEX.decode(content).manifests or ()
            return Outline(media_type, _once(children), (), is_known=True)
        if media_type in IMAGE_TYPES:
            image = _IMAGE.decode(content)
            return Outline(media_type, (), _once((image.config, *(image.layers or ()))), is_known=True)
    except (ValueError, RecursionError):
        pass
    referrer = referrer_of(digest, content)
    subject = None if referrer is None else referrer.subject
    digests = sorted(map(unpack, mentioned(content)))
    blobs = tuple(Named(each, "", None, optional=True) for each in digests if each != subject)
    return Outline(media_type, (), blobs, is_known=False)


def _once(descriptors: tuple[Descriptor, ...] | list[Descriptor]) -> tuple[Named, ...]:
    found: dict[Digest, Named] = {}
    for each in descriptors:
        optional = each.media_type in NONDISTRIBUTABLE
        found.setdefault(each.digest, Named(each.digest, each.media_type, each.size, optional))
    return tuple(found.values())


class _Image(msgspec.Struct, frozen=True):
    config: Descriptor
    layers: list[Descriptor] | None = None


class _Index(msgspec.Struct, frozen=True):
    manifests: list[Descriptor] | None = None


_IMAGE: Final = msgspec.json.Decoder(_Image, dec_hook=to_digest)
_INDEX: Final = msgspec.json.Decoder(_Index, dec_hook=to_digest)
