"""The page on starting, health and stopping."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cargohold.registry import readiness
from tests.docs.blocks import text_of
from tests.docs.session import Session

if TYPE_CHECKING:
    from pathlib import Path

PAGE = "running.md"


def test_what_is_typed(tmp_path: Path) -> None:
    """The commands do what the page says."""
    with Session(tmp_path) as session:
        assert session.type_page(PAGE) == 2


def test_every_reason_is_told() -> None:
    """The page has the reasons that there are, and no other."""
    listed = set(re.findall(r"^\| `(the [a-z ]+)` \|", text_of(PAGE), re.MULTILINE))
    assert listed == {
        readiness.STOPPING,
        readiness.SILENT,
        readiness.FULL,
        readiness.UNREADABLE,
        readiness.UNWRITABLE,
    }
