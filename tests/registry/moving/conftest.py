from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.registry.moving.registries import Registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    """One to export from."""
    opened = Registry(tmp_path / "registry")
    yield opened
    opened.store.close()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Registry]:
    """One to import into."""
    opened = Registry(tmp_path / "other")
    yield opened
    opened.store.close()
