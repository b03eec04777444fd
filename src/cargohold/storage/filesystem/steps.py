"""How seldom the servers of a tree renew leases: by the settings that each began with, and not those of now."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cargohold.storage.filesystem.leases import LONGEST_STEP
from cargohold.storage.filesystem.tree import exists, read_file
from cargohold.storage.locks import PATIENCE, locked, open_lock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cargohold.storage.layout import Layout


def longest_step(layout: Layout) -> float:
    """The longest step that any server of the tree has had, in seconds; the longest that there is, where none tells."""
    try:
        step = float(read_file(layout.prepared))
    except (FileNotFoundError, ValueError):
        return LONGEST_STEP
    return step if 0 <= step <= LONGEST_STEP else LONGEST_STEP


@contextmanager
def telling(layout: Layout, step: float) -> Iterator[bytes]:
    """Gives what is to be in the file `prepared` before a server with this step begins; nobody else changes it now.

    Raises OSError, and Busy.
    """
    descriptor = open_lock(f"{layout.locks}/prepared")
    try:
        with locked(descriptor, time.monotonic() + PATIENCE):
            longest = max(step, longest_step(layout)) if exists(layout.prepared) else step
            yield f"{longest:g}".encode()
    finally:
        os.close(descriptor)
