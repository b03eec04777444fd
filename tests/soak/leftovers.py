"""What is left on the disk of a registry from which everything was deleted and collected."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# What a registry has that never held anything, what says something of it as a whole, and what makes its lists quick.
_MAY_STAY = re.compile(
    r"cargohold/(prepared|counters|generation|totals|locks/[a-z0-9.]+|gc/[a-z.]+)"
    r"|docker/registry/v2/repositories/.+/_cargohold/(referrers\.seen|tags\.list|referrers/.+)"
)


def leftovers(storage: Path) -> list[str]:
    """The files that nothing needs any more; to be empty. Folders may stay: the next push needs them again."""
    names = (path.relative_to(storage).as_posix() for path in storage.rglob("*") if not path.is_dir())
    return sorted(name for name in names if _MAY_STAY.fullmatch(name) is None)
