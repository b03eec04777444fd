"""Other programs, run to their end."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TOLD_CHARACTERS = 1000


def run(command: Sequence[str], environment: Mapping[str, str], seconds: float) -> None:
    """Run a program with these variables in addition to ours.

    Raises RuntimeError, with the end of what it said, where it fails, and where it takes longer than `seconds`.
    """
    what = " ".join(command[:3])
    try:
        ran = subprocess.run(
            command,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"{what} takes more than {seconds:g} s") from None
    if ran.returncode:
        raise RuntimeError(f"{what} ended with {ran.returncode}: {ran.stderr.strip()[-_TOLD_CHARACTERS:]}")
