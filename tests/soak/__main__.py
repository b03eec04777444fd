"""`python -m tests.soak SECONDS [SEED]`: as long as wanted, in a new folder, which stays if anything went wrong."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.soak.soak import Soak


def main() -> int:
    """Gives the exit code: 0 where nothing went wrong."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 3600.0
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else time.time_ns() % 1_000_000
    folder = Path(tempfile.mkdtemp(prefix="cargohold-soak-"))
    tell(f"seed {seed}, in {folder}")
    soak = Soak(folder / "data", folder, seed)
    failures = soak.run(seconds, tell)
    tell(soak.summary())
    if failures:
        tell("\n\n".join(failures))
        tell(f"the events, the server's log and the tree are in {folder}")
        return 1
    tell("nothing went wrong")
    shutil.rmtree(folder)
    return 0


def tell(line: str) -> None:
    """Say something at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
