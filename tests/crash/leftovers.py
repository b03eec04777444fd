"""What is left of things that were half made, or half removed, when a process died or its disk failed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from cargohold.storage.filesystem import FilesystemStore, expiry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest


def left_after_an_hour(storage: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What expiry leaves of it, and of sessions, when all of it is old enough; to be empty.

    A time of change cannot be set back, so the hour is made to have passed by being none.
    """
    with monkeypatch.context() as patched:
        patched.setattr(expiry, "_FORGOTTEN", -1.0)
        store = FilesystemStore(str(storage))
        asyncio.run(store.expire_uploads(-1.0))
        store.close()
    return list(map(str, _left(storage)))


def _left(storage: Path) -> Iterator[Path]:
    yield from (storage / "cargohold/new").iterdir()
    yield from storage.glob("**/*.new")
    for folder in ("_uploads", "_cargohold/hashing"):
        yield from storage.glob(f"docker/registry/v2/repositories/**/{folder}/*")
