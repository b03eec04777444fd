"""zot, a registry that keeps images as OCI layouts."""

from __future__ import annotations

import json
import subprocess

from benchmarks.contestants.contestant import Contestant, program


class Zot(Contestant):
    """`zot` on the PATH, or ZOT_BINARY: its minimal build, with all defaults, logging errors alone.

    By default it collects garbage, stores a blob that several repositories have once, and does not sync what it
    writes.
    """

    name = "zot"

    @classmethod
    def find(cls) -> str | None:
        """The path of its program, None where it is not installed."""
        return program("zot", "ZOT_BINARY")

    def version(self) -> str:
        """What it calls its commit, for the report."""
        ran = subprocess.run(
            [self.program, "--version"], capture_output=True, text=True, check=False, timeout=10
        )
        told: str = json.loads(ran.stdout + ran.stderr)["commit"]
        return told or "unknown"

    def command(self, folder: str, port: int) -> list[str]:
        """Prepare the folder and say what to run."""
        settings = {
            "distSpecVersion": "1.1.1",
            "storage": {"rootDirectory": f"{folder}/data"},
            "http": {"address": "127.0.0.1", "port": str(port)},
            "log": {"level": "error"},
        }
        with open(f"{folder}/config.json", "w", encoding="utf-8") as file:
            json.dump(settings, file)
        return [self.program, "serve", f"{folder}/config.json"]
