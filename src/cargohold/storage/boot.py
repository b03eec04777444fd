"""Which run of the machine this is: what was not synced may be gone in the next."""

from __future__ import annotations

import os
from functools import cache
from typing import Final

_PATH: Final = "/proc/sys/kernel/random/boot_id"


@cache
def boot_id() -> str:
    """The same for every process from one start of the machine to the next.

    Where the system does not tell it, a name that no other process has: whatever is kept is of use to its own alone.
    """
    try:
        with open(_PATH, "rb", buffering=0) as file:
            return file.read().strip().decode("ascii", "replace")
    except OSError:
        return f"process-{os.urandom(12).hex()}"
