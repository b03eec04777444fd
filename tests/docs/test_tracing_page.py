"""The page on traces: its table of what a span has."""

from __future__ import annotations

import re

from cargohold.http import tracing
from cargohold.observe.spans import STOP_SECONDS
from tests.docs.blocks import ROOT, text_of

PAGE = "tracing.md"


def test_the_table_has_every_attribute() -> None:
    """The page names the attributes that are set, and no other."""
    table = text_of(PAGE).partition("| attribute |")[2].partition("\n\n")[0]
    code = (ROOT / "src" / f"{tracing.__name__.replace('.', '/')}.py").read_text()
    used = set(re.findall(r'set_attribute\(\s*"([a-z_.]+)"', code))
    assert used
    assert set(re.findall(r"`([a-z_]+\.[a-z_.]+)`", table)) == used


def test_the_time_of_a_stop() -> None:
    """The bound that the page names is that of the code."""
    assert STOP_SECONDS == 3
    assert "no more than three seconds" in " ".join(text_of(PAGE).split())
