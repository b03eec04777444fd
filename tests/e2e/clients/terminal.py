"""The lines of docs/login.md, and a terminal in which a client's are typed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.config.test_pages import blocks
from tests.e2e.clients.images import Layer, make_image, packed

if TYPE_CHECKING:
    from collections.abc import Mapping

PAGE = Path(__file__).parents[3] / "docs/login.md"
SECONDS = 120

_ADDRESS, _PLACE, _USER = "127.0.0.1:5000", "/team", "ann"
_CREDENTIALS = re.compile(r'--user "[^"]*" ')
_VERBS = {
    "login": "login",
    "logout": "logout",
    "push": "push",
    "pull": "pull",
    "sign": "push",
    "verify": "pull",
}

# What the page takes for granted before a line that pushes, and what makes a pull fetch everything again.
_READY = {
    "docker": "docker import app.tar app",
    "podman": "podman import app.tar app",
    "buildah": "buildah tag $(buildah pull --quiet oci:app:it) app",
    "ctr": "tar --create --directory app . | ctr images import --base-name app -",
    "oras": "echo notes > notes.txt",
    "helm": "helm create app && helm package app --version 1.0.0",
}
_FORGET = {
    "docker": "docker image prune --all --force",
    "podman": "podman rmi --all --force",
    "buildah": "buildah rmi --all --force",
    "ctr": "ctr images list --quiet | xargs --no-run-if-empty ctr images remove --sync",
    "oras": "rm -f notes.txt",
    "helm": "rm -f app-1.0.0.tgz",
    "cosign": "true",
}

# oras 1.2 may crash where two of its uploads are refused (oras-go, issue 916), seldom where they go one by one. It has
# been refused by then, but does not say so.
_SINGLY = {"oras": " --concurrency 1"}
_CRASH, _TRIES = "panic: sync/atomic: compare and swap", 5


def lines(client: str) -> dict[str, str]:
    """What the page has to be typed: `first`, then to log in, push, pull and log out.

    A line that does none of these belongs to the one after it; before the login, it is `first`.
    """
    (block,) = (each for each in blocks(PAGE.read_text(), "sh") if each.startswith(f"{client} "))
    found: dict[str, str] = {}
    before = ""
    for line in block.splitlines(keepends=True):
        verb = _verb(line.split())
        if verb is None:
            before += line
        elif verb == "login":
            found |= {"first": before, verb: line}
            before = ""
        else:
            found[verb] = before + line
            before = ""
    assert not before
    return found


def _verb(words: list[str]) -> str | None:
    if "copy" in words:
        return "push" if _ADDRESS in words[-1] else "pull"
    return next((_VERBS[word] for word in words if word in _VERBS), None)


def furnish(folder: Path, architecture: str) -> dict[str, str]:
    """Puts there what the lines take for granted; returns the environment in which clients keep to it."""
    layers: list[Layer] = [{"one": b"the first layer"}, {"two": b"the second"}]
    make_image(folder / "app", layers, architecture, ["/one"])
    (folder / "app.tar").write_bytes(packed({"one": bytes(folder)}))
    (folder / "auth.json").write_text("{}")
    store = f'driver = "vfs"\ngraphroot = "{folder}/root"\nrunroot = "{folder}/run"\n'
    (folder / "storage.conf").write_text(f"[storage]\n{store}")
    ways = 'events_logger = "none"\ncgroup_manager = "cgroupfs"\n'
    (folder / "containers.conf").write_text(f'[engine]\n{ways}tmp_dir = "{folder}/tmp"\n')
    return {
        "CONTAINERS_STORAGE_CONF": f"{folder}/storage.conf",
        "CONTAINERS_CONF": f"{folder}/containers.conf",
        "REGISTRY_AUTH_FILE": f"{folder}/auth.json",
        "COSIGN_PASSWORD": "",
    }


class Terminal:
    """A shell in a folder, which holds what a client pushes, and a home of its own."""

    def __init__(self, client: str, host: str, folder: Path, environment: Mapping[str, str]) -> None:
        self.client, self.host, self.folder = client, host, folder
        self.home = folder / "home"
        self.home.mkdir(exist_ok=True)
        self._environment = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "LANG": "C.UTF-8",
            "HOME": str(self.home),
            **environment,
        }
        self._lines = lines(client)
        self._user = ""
        self._succeed(self._typed("first", ""))

    def beside(self, client: str) -> Terminal:
        """Another client in the same folder, with the same home."""
        return Terminal(client, self.host, self.folder, self._environment)

    def log_in(self, user: str, password: str) -> str:
        """Gives a name and a password; returns what the client said, or fails the test."""
        self._give(user, password)
        return self._succeed(self._typed("login", ""))

    def log_in_refused(self, user: str, password: str) -> str:
        """Gives a name and a password; returns what the client said, or fails the test if the login succeeds."""
        self._give(user, password)
        return self._fail(self._typed("login", ""))

    def log_out(self) -> None:
        """Lets the client forget its login."""
        self._succeed(self._typed("logout", ""))
        self._user = ""

    def push(self, place: str) -> str:
        """Pushes `app` below `place`; returns what the client said."""
        self.run(_READY.get(self.client, ""))
        return self._succeed(self._typed("push", place))

    def push_refused(self, place: str) -> str:
        """Tries to push below `place`; returns what the client said, or fails the test if it succeeds."""
        self.run(_READY.get(self.client, ""))
        said = _CRASH
        for _ in range(_TRIES):
            if _CRASH in said:
                said = self._fail(self._typed("push", place, _SINGLY.get(self.client, "")))
        return said

    def pull(self, place: str) -> None:
        """Pulls what is below `place`, all of it."""
        self.run(_FORGET.get(self.client, "rm -rf pulled pulled.tar"))
        self._succeed(self._typed("pull", place))

    def pull_refused(self, place: str) -> str:
        """Tries to pull what is below `place`; returns what the client said, or fails the test if it succeeds."""
        self.run(_FORGET.get(self.client, "rm -rf pulled pulled.tar"))
        return self._fail(self._typed("pull", place))

    def may_pull(self, place: str) -> bool:
        """Whether what is below `place` can be pulled, all of it."""
        self.run(_FORGET.get(self.client, "rm -rf pulled pulled.tar"))
        return self._typed("pull", place).returncode == 0

    def run(self, text: str) -> str:
        """Types other lines; returns what they print, or fails the test."""
        return self._succeed(self._run(text))

    def _give(self, user: str, password: str) -> None:
        (self.folder / "password").write_text(password + "\n")
        self._user = user

    def _typed(self, verb: str, place: str, option: str = "") -> subprocess.CompletedProcess[str]:
        """Types the lines of a verb; nothing where the client has none, whose other lines then name the user."""
        text = self._lines.get(verb, "")
        text = re.sub(rf"\b{_USER}\b", self._user, text) if self._user else _CREDENTIALS.sub("", text)
        text = text.replace(f"{_ADDRESS}{_PLACE}", f"{_ADDRESS}/{place}").replace(_ADDRESS, self.host)
        return self._run(text.replace(f" {verb} ", f" {verb}{option} "))

    def _run(self, text: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "-eu", "-c", text],
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    @staticmethod
    def _succeed(ended: subprocess.CompletedProcess[str]) -> str:
        assert ended.returncode == 0, f"{ended.args[-1]}\n{ended.stdout}\n{ended.stderr}"
        return ended.stdout + ended.stderr

    @staticmethod
    def _fail(ended: subprocess.CompletedProcess[str]) -> str:
        assert ended.returncode != 0, f"{ended.args[-1]}\n{ended.stdout}\n{ended.stderr}"
        return ended.stdout + ended.stderr
