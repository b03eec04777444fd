"""cargohold itself, with all its defaults."""

from __future__ import annotations

import os
import sys

from benchmarks.contestants.contestant import Contestant


class Cargohold(Contestant):
    """The command that is installed beside the interpreter that runs the benchmarks, or CARGOHOLD_BINARY."""

    name = "cargohold"

    @classmethod
    def find(cls) -> str | None:
        """The path of its program, None where it is not installed."""
        beside = os.path.join(os.path.dirname(sys.executable), "cargohold")
        return os.environ.get("CARGOHOLD_BINARY") or (beside if os.path.exists(beside) else None)

    def command(self, folder: str, port: int) -> list[str]:
        """Prepare the folder and say what to run."""
        return [self.program, "serve", "--port", str(port), "--storage-path", f"{folder}/data"]
