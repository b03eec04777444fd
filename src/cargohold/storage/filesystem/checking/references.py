"""What a stored manifest names, whoever stored it and by whatever rules. Pure; nothing here raises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from cargohold.types.digest import Digest
from cargohold.types.errors import DigestInvalid
from cargohold.types.oci import NONDISTRIBUTABLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Named(NamedTuple):
    """Content that a manifest names; `size` is what it says of its length, None where it does not."""

    digest: Digest
    size: int | None


class References(NamedTuple):
    """What must be there with a manifest: the config and the layers, and the children of an index. Each once."""

    blobs: tuple[Named, ...] = ()
    manifests: tuple[Named, ...] = ()


class _Descriptor(msgspec.Struct, rename="camel"):
    digest: Any = None
    size: Any = None
    media_type: Any = None


class _Layer(msgspec.Struct, rename="camel"):
    blob_sum: Any = None


class _Document(msgspec.Struct, rename="camel"):
    config: _Descriptor | None = None
    layers: list[_Descriptor] | None = None
    manifests: list[_Descriptor] | None = None
    fs_layers: list[_Layer] | None = None


_DOCUMENT: Final = msgspec.json.Decoder(_Document)


def references(content: bytes) -> References | None:
    """What a document names; None where it is no manifest of a form that we know (Docker's first is known)."""
    try:
        document = _DOCUMENT.decode(content)
    except (ValueError, RecursionError):
        return None
    blobs = [document.config] if document.config else []
    blobs += [
        _Descriptor(digest=layer.blob_sum) for layer in document.fs_layers or ()
    ]  # https://distribution.github.io/distribution/spec/deprecated-schema-v1/
    blobs += [layer for layer in document.layers or () if str(layer.media_type) not in NONDISTRIBUTABLE]
    return References(_once(blobs), _once(document.manifests or ()))


def _once(descriptors: Iterable[_Descriptor]) -> tuple[Named, ...]:
    return tuple({named.digest: named for named in _valid(descriptors)}.values())


def _valid(descriptors: Iterable[_Descriptor]) -> Iterator[Named]:
    for each in descriptors:
        try:
            digest = Digest(each.digest) if isinstance(each.digest, str) else None
        except DigestInvalid:
            continue
        if digest is not None:
            yield Named(digest, each.size if type(each.size) is int else None)
