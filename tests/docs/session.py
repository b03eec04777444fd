"""Somebody who types a page: its commands one after the other, in one folder, with a real server.

A block of `sh` or `bash` is given to a shell as it stands, and must succeed. Of a block of `console` each line that
begins with `$ ` is typed at a terminal, and what it prints must be what stands below it; a command that fails shows
so by what it prints. Each is given to a shell of its own, so that `cd` and `export` end with it. On the page,

- a line `...` stands for any number of lines;
- times, digests, secrets, the ids of keys, of uploads and of requests are some, and not these;
- several spaces are as good as two, and those at the end of a line are none.

`cargohold serve` is started with a port that the kernel picks, and goes on until the session ends; the addresses
`localhost:5000` and `127.0.0.1:5000` are from then on that server's. A second one takes the place of the first.
What is printed below it must be among what it logs, line by line, from its start on.
"""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.cli.terminal import PROMPTS, on_terminal
from tests.cli.test_command import CLEAN, SCRIPT
from tests.docs.blocks import SHELLS, blocks_of
from tests.http.serving import WAIT_SECONDS, until

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.docs.blocks import Block

SHELL_SECONDS = 120

_COMMAND = re.compile(r"^\$ (?P<command>.*(?:\\\n.*)*)\n?(?P<output>(?:(?!\$ ).*\n?)*)", re.MULTILINE)
_SERVE = re.compile(r"^(?:[A-Z_]+=\S+ )*cargohold serve\b")
_SERVING = re.compile(r"serving on https?://(127\.0\.0\.1:\d+).*\n")
_ADDRESS = re.compile(r"\b(localhost|127\.0\.0\.1):5000\b")
_CHANGING = (
    (r"\x1b\[[0-9;?]*[A-Za-z]", ""),
    (r"\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z?", "TIME"),
    (r"\b(sha256|sha512):[0-9a-f]{12,}", r"\1:DIGEST"),
    (r"\bchd_[A-Za-z0-9_-]{43}", "SECRET"),
    (r"^[A-Za-z0-9_-]{43}(?=\s|$)", "KEY"),
    (r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "UUID"),
    (r"\b[0-9a-f]{32}\b", "ID"),
    (r"\b[0-9a-f]{16}-\d+\b", "REQUEST"),
    (r"\bcargohold \d+(\.\d+)+\S*", "cargohold VERSION"),
    (r" {2,}", "  "),
    (r"[ \r]+$", ""),
)


def alike(text: str) -> str:
    """A text without what is another at every time."""
    for pattern, word in _CHANGING:
        text = re.sub(pattern, word, text, flags=re.MULTILINE)
    return text.strip("\n")


def shows(printed: str, expected: str) -> bool:
    """Whether a page that shows `expected` tells what was printed."""
    parts = [
        r"(?:.*\n)*?" if line == "..." else re.escape(line) + r"\n" for line in alike(expected).splitlines()
    ]
    return re.fullmatch("".join(parts), alike(printed) + "\n" if alike(printed) else "") is not None


class Session:
    """A shell in a folder. To be left as a context manager, which ends the server that was started in it, if any.

    Attributes: `folder`; `environment`, which each command has; `replaced`, texts that are replaced in each command
    and in what it is to print; `log`, what the server has written so far.
    """

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str] | None = None,
        *,
        replaced: Mapping[str, str] | None = None,
        answers: Mapping[str, str] = PROMPTS,
    ) -> None:
        self.folder = folder
        path = f"{Path(SCRIPT).parent}:{CLEAN['PATH']}"
        self.environment = (
            CLEAN | {"PATH": path, "HOME": str(folder), "COLUMNS": "120"} | dict(environment or {})
        )
        self.replaced = dict(replaced or {})
        self.log = ""
        self.port = ""
        self._answers = answers
        self._server: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end_server()

    def type_page(self, page: str) -> int:
        """Types every block of a page; returns how many there were."""
        found = blocks_of(page, *SHELLS)
        for block in found:
            self.type(block)
        return len(found)

    def type(self, block: Block) -> None:
        """Types one block; AssertionError where the page does not tell what happens."""
        if block.language != "console":
            self._run(block)
            return
        for each in _COMMAND.finditer(block.text):
            command = self._here(each["command"])
            if _SERVE.match(command):
                self.serve(command)
                expected, printed = f"...\n{self._here(each['output'])}...", self.log
            else:
                expected = self._here(each["output"])
                printed = on_terminal(f"set +eu\n{command}\n:", self.folder, self._answers, self.environment)
            assert shows(printed, expected), f"{block}\n--- on the page\n{expected}\n--- printed\n{printed}"

    def _run(self, block: Block) -> None:
        *lines, last = self._here(block.text).splitlines()
        serves = _SERVE.match(last)
        text = "\n".join(lines if serves else [*lines, last])
        ended = subprocess.run(
            ["bash" if block.language == "bash" else "sh", "-eu", "-c", text],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SHELL_SECONDS,
            check=False,
        )
        assert ended.returncode == 0, f"{block}\n{ended.stdout}\n{ended.stderr}"
        if serves:
            self.serve(last)

    def _here(self, text: str) -> str:
        for old, new in self.replaced.items():
            text = text.replace(old, new)
        return _ADDRESS.sub(rf"\1:{self.port}", text) if self.port else text

    def serve(self, command: str) -> None:
        """Types a command that serves; returns when it says that it does."""
        self._end_server()
        self.log = ""
        keyboard, terminal = pty.openpty()
        self._server = subprocess.Popen(
            ["setsid", "--ctty", "sh", "-c", f"exec env {command}"],
            cwd=self.folder,
            env=self.environment | {"REGISTRY_PORT": "0"},
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
        )
        os.close(terminal)
        self._reader = threading.Thread(target=self._read, args=(keyboard,))
        self._reader.start()
        server = self._server
        until(lambda: _SERVING.search(self.log) or server.poll() is not None)
        found = _SERVING.search(self.log)
        assert found, f"{command}\n{self.log}"
        self.port = found[1].partition(":")[2]

    def _read(self, keyboard: int) -> None:
        with suppress(OSError):  # how a terminal ends on Linux
            while read := os.read(keyboard, 4096):
                self.log += read.decode(errors="replace").replace("\r\n", "\n")
        os.close(keyboard)

    def _end_server(self) -> None:
        if self._server is None or self._reader is None:
            return
        self._server.send_signal(signal.SIGTERM)
        try:
            assert self._server.wait(WAIT_SECONDS) == 0, self.log
        finally:
            self._server.kill()
            self._server.wait(WAIT_SECONDS)
            self._reader.join(WAIT_SECONDS)
        self._server = self._reader = None
        assert "Traceback" not in self.log, self.log
