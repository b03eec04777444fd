"""The real server as a process, and what a test wants to know of it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_START_SECONDS = 20.0
_STOP_SECONDS = 60.0
# Another user than root, who yet reaches the interpreter and the folders of tests. (A user is unprivileged already.)
UNPRIVILEGED: Final = (
    (
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "--inh-caps=-all,+dac_override",
        "--ambient-caps=-all,+dac_override",
    )
    if os.geteuid() == 0
    else ()
)
COLLECTOR: Final = "collector"
_SERVING = re.compile(r"serving on (https?://(127\.0\.0\.1:\d+)[^,\s]*)")


class Server:
    """`cargohold serve` on a port that the kernel picks; `settings` are dotted names with their values.

    `launcher` is a command that becomes the server by an exec of the words that follow it.

    Attributes: `host` (`127.0.0.1:PORT`), `url`, `storage` (the path of its tree), `log` (its stderr so far).
    """

    def __init__(
        self,
        storage: Path,
        settings: Mapping[str, object] | None = None,
        *,
        port: int = 0,
        launcher: Sequence[str] = (),
    ) -> None:
        self.storage = storage
        assignments = {"port": port, "storage.path": storage, **(settings or {})}
        options = [word for name, value in assignments.items() for word in ("--set", f"{name}={value}")]
        environ = {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")}
        self.process = subprocess.Popen(
            [*launcher, str(Path(sys.executable).parent / "cargohold"), "serve", *options],
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            env=environ,
            text=True,
        )
        self._lines: list[str] = []
        self._ready = threading.Event()
        self.url = self.host = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not self._ready.wait(_START_SECONDS) or not self.url:
            self.kill()
            raise AssertionError(f"the server did not start: {self.log}")

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._lines.append(line)
            found = _SERVING.search(line)
            if found:
                self.url, self.host = found.groups()
                self._ready.set()
        self._ready.set()

    @property
    def log(self) -> str:
        """What it has written to stderr."""
        return "".join(self._lines)

    def workers(self) -> list[int]:
        """The process ids of the workers, or of the one process that serves."""
        found = self._children()
        return [pid for pid, name in found.items() if name != COLLECTOR] or [self.process.pid]

    def collectors(self) -> list[int]:
        """The process id of the garbage collector, if it is at work."""
        return [pid for pid, name in self._children().items() if name == COLLECTOR]

    def _children(self) -> dict[int, str]:
        """Their names, by their ids."""
        pid, found = self.process.pid, {}
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            with suppress(FileNotFoundError, ProcessLookupError):  # ended since they were listed
                found[int(child)] = Path(f"/proc/{child}/comm").read_text().rstrip()
        return found

    def stop(self) -> int:
        """SIGTERM, and its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self._wait()

    def kill(self) -> None:
        """SIGKILL to every process of it, as an out-of-memory killer does."""
        if self.process.poll() is None:
            doomed = {self.process.pid, *self._children()}
            for pid in doomed:
                os.kill(pid, signal.SIGKILL)
        self._wait()

    def _wait(self) -> int:
        code = self.process.wait(_STOP_SECONDS)
        self._reader.join(_STOP_SECONDS)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code
