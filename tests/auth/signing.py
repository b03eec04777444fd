"""Folders of the keys that tokens are signed with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cargohold.auth.keys import SigningKeys

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_800_000_000.0


def prepared(folder: Path, now: float = NOW) -> SigningKeys:
    keys = SigningKeys(str(folder))
    keys.prepare(now)
    return keys


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.jwk"))
