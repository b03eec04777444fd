"""What a benchmark asks of whatever it measures."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from benchmarks.content import REPOSITORY, TAG
from benchmarks.load.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.content import Blob
    from benchmarks.processes import Server


BUILT = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(__file__))), "build", "bench", "bin")


class Contestant(ABC):
    """A server that can be started; `takes_uploads` tells registries from servers of files."""

    name: str
    takes_uploads = True

    def __init__(self, program: str) -> None:
        self.program = program

    @classmethod
    @abstractmethod
    def find(cls) -> str | None:
        """The path of its program, None where it is not installed."""

    def version(self) -> str:
        """Its version, for the report."""
        return version_of(self.program, "--version")

    @abstractmethod
    def command(self, folder: str, port: int) -> list[str]:
        """Prepare a folder and say what to run: it must stay in the foreground and listen on 127.0.0.1:port."""

    def publish(self, server: Server, blobs: Sequence[Blob], manifest: bytes) -> None:
        """Make blobs, and a manifest under the tag, available at the addresses of the specification."""
        with Connection(server.port) as connection:
            for blob in blobs:
                connection.push_blob(REPOSITORY, blob)
            connection.push_manifest(REPOSITORY, TAG, manifest)


def program(name: str, variable: str) -> str | None:
    """The program that an environment variable names, else the one that is found in `places`."""
    return os.environ.get(variable) or shutil.which(name, path=places())


def places() -> str:
    """Where what was built for this is, then the PATH, then where Debian keeps what only root used to start."""
    return os.pathsep.join([BUILT, os.environ.get("PATH", os.defpath), "/usr/sbin"])


def version_of(*command: str) -> str:
    """The first thing that looks like a version in what a program prints."""
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    found = re.search(r"\d+(\.\d+)+\S*", ran.stdout + ran.stderr)
    return found[0] if found else "unknown"
