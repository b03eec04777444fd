"""Where a test's storage lies: on the disk, as a rule, or in memory."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_MEMORY = "/dev/shm"


@contextmanager
def folder_in_memory(otherwise: Path) -> Iterator[Path]:
    """A folder of a file system that is in memory, removed on leaving; `otherwise`, where the system has none."""
    if not os.access(_MEMORY, os.W_OK):
        yield otherwise
        return
    with tempfile.TemporaryDirectory(dir=_MEMORY) as folder:
        yield Path(folder)
