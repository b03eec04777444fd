"""The files of a tree, as one value that can be compared."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OURS = ("cargohold", "_cargohold")


def snapshot(root: Path) -> dict[str, bytes]:
    """Every file below the root by its path, and every folder, with a slash at its end; what is ours is left out."""
    return dict(_entries(str(root), ""))


def files(root: Path) -> dict[str, bytes]:
    """Every file below the root by its path; what is ours is left out."""
    return {path: content for path, content in snapshot(root).items() if not path.endswith("/")}


def _entries(folder: str, path: str) -> Iterator[tuple[str, bytes]]:
    for entry in os.scandir(folder):
        if entry.name in OURS:
            continue
        if entry.is_dir():
            yield f"{path}{entry.name}/", b""
            yield from _entries(entry.path, f"{path}{entry.name}/")
        else:
            with open(entry.path, "rb") as file:
                yield f"{path}{entry.name}", file.read()
