"""`python -m tests.crash.faulty CONTROL cargohold ...`: the program, on a disk that fails as `faults.Control` says."""

from __future__ import annotations

import sys
from pathlib import Path

from cargohold.__main__ import main
from tests.crash.calls import surround
from tests.crash.faults import Control

if __name__ == "__main__":
    surround(Control(Path(sys.argv[1])).around)
    sys.argv = sys.argv[2:]
    main()
