"""The proxies of the page about them, each started with the very configuration that stands there.

Replaced are the ports, the paths of certificates and the name, which is `localhost`. Around it stands only what the
program needs to keep to a folder and to this machine.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2

from tests.docs.blocks import Block, blocks_of
from tests.e2e.clients.absence import require
from tests.http.serving import WAIT_SECONDS, until

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = "proxies.md"
NAME = "localhost"


@dataclass(frozen=True)
class Proxy:
    """A proxy that runs: the port that it listens on, its process."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def host(self) -> str:
        """Its name and port, as clients write them."""
        return f"{NAME}:{self.port}"

    def held(self) -> int:
        """How many bytes it has in its memory and in files that it has open and may have removed, all processes."""
        pids = [self.process.pid, *_children(self.process.pid)]
        return sum(_resident(pid) + _opened(pid) for pid in pids)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _resident(pid: int) -> int:
    found = re.search(r"^RssAnon:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def _opened(pid: int) -> int:
    total = 0
    for entry in os.scandir(f"/proc/{pid}/fd"):
        if os.readlink(entry.path).startswith("/tmp"):
            total += os.stat(entry.path).st_size
    return total


def free_port() -> int:
    """A port that was free just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def section(title: str) -> list[Block]:
    """The blocks of the page that are in the section of a proxy."""
    return [block for block in blocks_of(PAGE) if block.first in _BEGINNINGS[title]]


TRAEFIK = ("entryPoints:", "http:")
"""How the two files of Traefik begin."""
_BEGINNINGS = {"nginx": ("server {",), "Caddy": ("registry.example.com {",), "Traefik": TRAEFIK}


class Workshop:
    """Where a proxy's files are made: a folder that holds `fullchain.pem`, `privkey.pem` and `ca.crt`."""

    def __init__(self, folder: Path, registry: str, change: tuple[str, str] = ("", "")) -> None:
        self.folder, self.registry, self.change = folder, registry, change
        self.port = free_port()

    def is_ready(self) -> bool:
        """Whether it answers for the registry; it may listen before it knows its certificate or its way."""
        context = ssl.create_default_context(cafile=str(self.folder / "ca.crt"))
        try:
            return httpx2.get(f"https://{NAME}:{self.port}/v2/", verify=context).status_code == 401
        except httpx2.TransportError:
            return False

    def changed(self, text: str) -> str:
        """A configuration of the page, for this folder and this registry."""
        text = text.replace("/etc/ssl/registry", str(self.folder)).replace("127.0.0.1:5000", self.registry)
        text = text.replace("/etc/traefik", str(self.folder))
        assert self.change[0] in text
        return text.replace(*self.change) if self.change[0] else text

    def nginx(self) -> list[str]:
        """Writes the configuration; returns the command."""
        (block,) = section("nginx")
        text = self.changed(block.text).replace("registry.example.com", NAME)
        assert text.count("listen 443 ssl;") == 1
        text = text.replace("listen 443 ssl;", f"listen 127.0.0.1:{self.port} ssl;")
        (self.folder / "logs").mkdir()
        kept = "".join(
            f"{kind}_temp_path {self.folder}/{kind};"
            for kind in ("client_body", "proxy", "fastcgi", "scgi", "uwsgi")
        )
        (self.folder / "nginx.conf").write_text(
            f"daemon off; pid {self.folder}/pid; error_log {self.folder}/logs/error; user root;\n"
            f"events {{}} http {{ access_log off; {kept}\n{text} }}"
        )
        return [require("nginx"), "-p", str(self.folder), "-c", f"{self.folder}/nginx.conf"]

    def caddy(self) -> list[str]:
        """Writes the configuration; returns the command."""
        (block,) = section("Caddy")
        text = self.changed(block.text).replace("registry.example.com", f"{NAME}:{self.port}")
        around = "{\nadmin off\nauto_https disable_redirects\ndefault_bind 127.0.0.1\nskip_install_trust\n}\n"
        (self.folder / "Caddyfile").write_text(around + text)
        return [require("caddy"), "run", "--config", f"{self.folder}/Caddyfile"]

    def traefik(self) -> list[str]:
        """Writes the two files; returns the command."""
        started, routed = section("Traefik")
        assert started.text.count('":443"') == 1
        text = self.changed(started.text).replace('":443"', f'"127.0.0.1:{self.port}"')
        (self.folder / "traefik.yml").write_text(text)
        routes = self.changed(routed.text).replace("registry.example.com", NAME)
        (self.folder / "registry.yml").write_text(routes)
        return [require("traefik"), f"--configFile={self.folder}/traefik.yml"]


@contextmanager
def running(program: str, folder: Path, registry: str, change: tuple[str, str] = ("", "")) -> Iterator[Proxy]:
    """A proxy before the registry at `127.0.0.1:PORT`, with the certificate in `folder`, until the block ends.

    `change` is a text of its configuration, and what stands there instead.
    """
    workshop = Workshop(folder, registry, change)
    command: list[str] = getattr(workshop, program)()
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environ)
    try:
        until(lambda: workshop.is_ready() or process.poll() is not None)
        assert process.poll() is None, (folder / "output").read_text()
        yield Proxy(workshop.port, process)
    finally:
        process.terminate()
        process.wait(WAIT_SECONDS)
