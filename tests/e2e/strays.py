"""What lies in or beside a storage folder and does not belong there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = rf"{_COMPONENT}(?:/{_COMPONENT})*"
_DIGEST = r"(?:sha256/[0-9a-f]{64}|sha512/[0-9a-f]{128})"
_TAG = r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}"
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_RECORD = r"[0-9]{8}T[0-9]{6}\.[0-9]{9}Z-[0-9a-f]{8}(?:\.ended)?"
_OURS = r"[a-z0-9]+(?:[./:_-]+[a-z0-9]+)*"
_FILES = re.compile(
    "|".join(
        (
            r"docker/registry/v2/blobs/(?:sha256/([0-9a-f]{2})/\1[0-9a-f]{62}|sha512/([0-9a-f]{2})/\2[0-9a-f]{126})/data",
            rf"docker/registry/v2/repositories/{_NAME}/_layers/{_DIGEST}/link",
            rf"docker/registry/v2/repositories/{_NAME}/_manifests/revisions/{_DIGEST}/link",
            rf"docker/registry/v2/repositories/{_NAME}/_manifests/tags/{_TAG}/current/link",
            rf"docker/registry/v2/repositories/{_NAME}/_manifests/tags/{_TAG}/index/{_DIGEST}/link",
            rf"docker/registry/v2/repositories/{_NAME}/_uploads/{_UUID}/(?:data|startedat)",
            rf"docker/registry/v2/repositories/{_NAME}/_cargohold/{_OURS}",
            rf"docker/registry/v2/repositories/{_NAME}/_cargohold/trash/{_RECORD}",
            rf"cargohold/{_OURS}",
        )
    )
)
_FOLDERS = re.compile(
    "|".join(
        (
            r"docker(?:/registry(?:/v2(?:/blobs|/repositories)?)?)?",
            r"docker/registry/v2/blobs/sha(?:256|512)(?:/[0-9a-f]{2}(?:/[0-9a-f]{64}(?:[0-9a-f]{64})?)?)?",
            rf"docker/registry/v2/repositories/{_NAME}",
            rf"docker/registry/v2/repositories/{_NAME}/_(?:layers|manifests|manifests/revisions)(?:/sha(?:256|512)|/{_DIGEST})?",
            rf"docker/registry/v2/repositories/{_NAME}/_manifests/tags(?:/{_TAG}(?:/current|/index(?:/sha(?:256|512)|/{_DIGEST})?)?)?",
            rf"docker/registry/v2/repositories/{_NAME}/_uploads(?:/{_UUID})?",
            rf"docker/registry/v2/repositories/{_NAME}/_cargohold(?:/{_OURS})?",
            rf"cargohold(?:/{_OURS})?",
        )
    )
)


def strays(storage: Path) -> list[str]:
    """The paths that are no part of the layout, below the folder or beside it (it must be alone in its parent)."""
    found = [str(path) for path in storage.parent.iterdir() if path != storage]
    for path in storage.rglob("*"):
        allowed = _FOLDERS if path.is_dir() and not path.is_symlink() else _FILES
        if path.is_symlink() or allowed.fullmatch(path.relative_to(storage).as_posix()) is None:
            found.append(str(path))
    return found
