"""The pages that are typed from their first command to their last, beside a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.docs.blocks import SHELLS, blocks_of
from tests.docs.claims import TYPED
from tests.docs.session import Session
from tests.e2e.clients.absence import require

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("page", sorted(TYPED))
def test_page(page: str, tmp_path: Path) -> None:
    """Every command of the page does what the page shows."""
    require("curl")
    found = blocks_of(page, *SHELLS)
    assert found
    with Session(tmp_path) as session:
        session.serve("cargohold serve")
        for block in found:
            session.type(block)
