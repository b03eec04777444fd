"""What is pushed and pulled: layers that images share, and the manifests that can be made of them, by a seed."""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tests.e2e.pushing import MANIFEST

if TYPE_CHECKING:
    from collections.abc import Sequence

INDEX: Final = "application/vnd.oci.image.index.v1+json"
_SIZES = (0, 2, 100, 4_000, 70_000, 300_000, 1_000_000)
_LAYERS, _IMAGES, _INDEXES, _REFERRERS = 24, 24, 8, 16
_MOST_LAYERS = 6


@dataclass(frozen=True)
class Layer:
    """A blob."""

    content: bytes
    digest: str


@dataclass(frozen=True)
class Document:
    """A manifest, and what it names: `blobs` and `children` must be there before it, `subject` need not."""

    content: bytes
    media_type: str
    digest: str
    blobs: tuple[str, ...] = ()
    children: tuple[str, ...] = ()
    subject: str | None = None


class Pool:
    """Few layers in few manifests, so that those who push and delete get in each other's way.

    `layers` and `documents` are by digest; `referrers` tells of a subject those that have it.
    """

    def __init__(self, seed: int) -> None:
        dice = random.Random(f"{seed} pool")
        layers = [_layer(dice, number) for number in range(_LAYERS)]
        self.layers = {layer.digest: layer for layer in layers}
        images = [_image(dice, number, layers) for number in range(_IMAGES)]
        indexes = [_index(dice, number, images) for number in range(_INDEXES)]
        self.tagged = [*images, *indexes]
        referrers = [_image(dice, number, layers, dice.choice(self.tagged)) for number in range(_REFERRERS)]
        self.loose = referrers
        self.documents = {each.digest: each for each in (*self.tagged, *referrers)}
        self.referrers: dict[str, list[Document]] = {}
        for each in referrers:
            self.referrers.setdefault(each.subject or "", []).append(each)


def digest_by(algorithm: str, content: bytes) -> str:
    """The digest of the content by `sha256` or `sha512`."""
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"


def _algorithm(dice: random.Random) -> str:
    return dice.choices(("sha256", "sha512"), (5, 1))[0]


def _layer(dice: random.Random, number: int) -> Layer:
    # All but the one that holds nothing are told apart by their number.
    size = _SIZES[number % len(_SIZES)] if number else 0
    content = dice.randbytes(size - 2) + number.to_bytes(2) if number and size > 1 else bytes(number)
    return Layer(content, digest_by(_algorithm(dice), content))


def _descriptor(digest: str, size: int, media_type: str) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest, "size": size}


def _image(
    dice: random.Random, number: int, layers: Sequence[Layer], subject: Document | None = None
) -> Document:
    config, *inside = dice.sample(layers, dice.randint(1, _MOST_LAYERS))
    document: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": "application/vnd.example",
        "config": _descriptor(config.digest, len(config.content), "application/vnd.example.config"),
        "layers": [_descriptor(each.digest, len(each.content), "text/plain") for each in inside],
        "annotations": {"number": f"{'image' if subject is None else 'referrer'} {number}"},
    }
    if subject is not None:
        document["subject"] = _descriptor(subject.digest, len(subject.content), subject.media_type)
    content = json.dumps(document).encode()
    return Document(
        content,
        MANIFEST,
        digest_by(_algorithm(dice), content),
        blobs=tuple(each.digest for each in (config, *inside)),
        subject=subject.digest if subject else None,
    )


def _index(dice: random.Random, number: int, images: Sequence[Document]) -> Document:
    children = dice.sample(images, dice.randint(1, 3))
    document = {
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [_descriptor(each.digest, len(each.content), each.media_type) for each in children],
        "annotations": {"number": f"index {number}"},
    }
    content = json.dumps(document).encode()
    return Document(
        content,
        INDEX,
        digest_by(_algorithm(dice), content),
        children=tuple(each.digest for each in children),
    )
