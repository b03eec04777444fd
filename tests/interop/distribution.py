"""The CNCF Distribution registry as a process, for as long as a test needs it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import re
import signal
import subprocess
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_START_SECONDS = 20.0
_STOP_SECONDS = 30.0
_LISTENING = re.compile(r"listening on (127\.0\.0\.1:\d+)")
_SECRET = "a secret of this test"


class Distribution:
    """A server on the tree at `storage`, on a port that the kernel picks; it keeps nothing but the tree.

    Attributes: `url`, `log` (what it has written). `schema1` lets a 2.x take the manifests of that name.
    """

    def __init__(self, program: str, storage: Path, settings: Path, *, schema1: bool = False) -> None:
        self._program = program
        self._settings = settings
        settings.write_text(json.dumps(_configuration(storage, schema1=schema1)))
        self.process = subprocess.Popen(
            [program, "serve", settings],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**_environment(), "OTEL_TRACES_EXPORTER": "none"},
            text=True,
        )
        self._lines: list[str] = []
        self._listening = threading.Event()
        self.url = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not self._listening.wait(_START_SECONDS) or not self.url:
            self.stop()
            raise AssertionError(f"{program} did not start: {self.log}")

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.append(line)
            found = _LISTENING.search(line)
            if found:
                self.url = f"http://{found[1]}"
                self._listening.set()
        self._listening.set()

    @property
    def log(self) -> str:
        return "".join(self._lines)

    def stop(self) -> None:
        """SIGTERM, and wait for its end."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(_STOP_SECONDS)
        self._reader.join(_STOP_SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def collect_garbage(self) -> str:
        """Run its collection over the tree, with the server stopped; what it says."""
        done = subprocess.run(
            [self._program, "garbage-collect", self._settings],
            capture_output=True,
            check=True,
            env=_environment(),
            text=True,
            timeout=_STOP_SECONDS,
        )
        return done.stdout

    @staticmethod
    def session(repository: str, upload: str, offset: int) -> str:
        """The query by which it takes up a session: a state that only holders of its secret can sign."""
        state = {
            "Name": repository,
            "UUID": upload,
            "Offset": offset,
            "StartedAt": "2024-01-02T15:04:05Z",
        }
        message = json.dumps(state).encode()
        signature = hmac.new(_SECRET.encode(), message, hashlib.sha256).digest()
        return "_state=" + base64.urlsafe_b64encode(signature + message).decode()


def _configuration(storage: Path, *, schema1: bool) -> dict[str, object]:
    """JSON is YAML too."""
    configuration: dict[str, object] = {
        "version": 0.1,
        "log": {"level": "info", "formatter": "text", "accesslog": {"disabled": True}},
        "storage": {
            "filesystem": {"rootdirectory": str(storage)},
            "delete": {"enabled": True},
            "maintenance": {"uploadpurging": {"enabled": False}},
        },
        "http": {"addr": "127.0.0.1:0", "secret": _SECRET},
    }
    if schema1:
        configuration["compatibility"] = {"schema1": {"enabled": True}}
    return configuration


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")}
