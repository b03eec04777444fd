from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a registry keeps the keys that it signs tokens with; it makes it at its first start."""
    (tmp_path / "cargohold").mkdir()
    return tmp_path / "cargohold" / "keys"
