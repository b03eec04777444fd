from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.http.http1.running import LOOPS, MEBIBYTE, running
from tests.http.server_cases.echo import Echo

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.http.http1.running import Running


@pytest.fixture(params=list(LOOPS))
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Running]:
    """One whose handler does what its target names, and has a large file to send."""
    with (tmp_path / "large").open("wb") as file:
        file.truncate(64 * MEBIBYTE)
    with running(Echo(os.fspath(tmp_path)), request.param) as started:
        yield started
