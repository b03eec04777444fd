"""CNCF Distribution, the registry that most others are measured by."""

from __future__ import annotations

import json

from benchmarks.contestants.contestant import Contestant, program


class Distribution(Contestant):
    """`registry` on the PATH, or DISTRIBUTION_BINARY: as its image is, with deletion, logging errors alone."""

    name = "distribution"

    @classmethod
    def find(cls) -> str | None:
        """The path of its program, None where it is not installed."""
        return program("registry", "DISTRIBUTION_BINARY")

    def command(self, folder: str, port: int) -> list[str]:
        """Prepare the folder and say what to run."""
        settings = {
            "version": "0.1",
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {
                "filesystem": {"rootdirectory": f"{folder}/data"},
                "cache": {"blobdescriptor": "inmemory"},
                "delete": {"enabled": True},
            },
            "http": {"addr": f"127.0.0.1:{port}", "relativeurls": True},
        }
        with open(f"{folder}/config.yml", "w", encoding="utf-8") as file:
            json.dump(settings, file)
        return [self.program, "serve", f"{folder}/config.yml"]
