"""A look at a whole tree on disk: what is there that must not be."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def faults(storage: Path) -> list[str]:
    """Every blob whose bytes are not those of its digest, and every link that leads to nothing; to be empty."""
    root = storage / "docker/registry/v2"
    return [*_wrong_blobs(root / "blobs"), *_dangling_links(root), *_dangling_tags(root)]


def _wrong_blobs(blobs: Path) -> Iterator[str]:
    for data in blobs.glob("*/*/*/data"):
        with data.open("rb") as file:
            if hashlib.file_digest(file, data.parts[-4]).hexdigest() != data.parts[-2]:
                yield f"{data}: other bytes than its digest's"


def _dangling_links(root: Path) -> Iterator[str]:
    for kind in ("_layers", "_manifests/revisions"):
        for link in root.glob(f"repositories/**/{kind}/*/*/link"):
            digest = link.read_text()
            algorithm, _, encoded = digest.partition(":")
            if link.parts[-3:-1] != (algorithm, encoded):
                yield f"{link}: names {digest}"
            elif not (root / "blobs" / algorithm / encoded[:2] / encoded / "data").exists():
                yield f"{link}: no content"


def _dangling_tags(root: Path) -> Iterator[str]:
    for link in root.glob("repositories/**/_manifests/tags/*/current/link"):
        algorithm, _, encoded = link.read_text().partition(":")
        for folder in (link.parents[3] / "revisions", link.parents[1] / "index"):
            if not (folder / algorithm / encoded / "link").exists():
                yield f"{link}: {encoded} is not in {folder}"
    for link in root.glob("repositories/**/_manifests/tags/*/index/*/*/link"):
        if link.read_text() != ":".join(link.parts[-3:-1]):
            yield f"{link}: other bytes than its digest's name"
