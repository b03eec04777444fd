"""The page has a section for each error, and for what clients and the registry really say."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from cargohold.types.errors import RegistryError
from tests.cli.test_command import CLEAN, SCRIPT
from tests.docs.blocks import text_of
from tests.e2e.clients.absence import require
from tests.e2e.clients.program import Client
from tests.routes.test_api_page import kinds

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.server import Server

PAGE = text_of("troubleshooting.md")


def titles(section: str) -> list[str]:
    """What stands above the parts of a section."""
    (text,) = (
        part for part in re.split(r"^## ", PAGE, flags=re.MULTILINE) if part.startswith(f"{section}\n")
    )
    return re.findall(r"^### (.+)$", text, re.MULTILINE)


def is_told(section: str, said: str) -> bool:
    """Whether something that was said has its part, whose title may leave words out by `...` and name others too."""
    for title in titles(section):
        for text in title.split(", "):
            if re.search(".*".join(map(re.escape, re.split(r" ?\.\.\. ?", text))), said):
                return True
    return False


def test_every_code_has_its_section() -> None:
    """Each code that is ever sent has a section, in the order of the alphabet, and nothing else has."""
    assert titles("By code") == sorted({kind.code for kind in kinds(RegistryError)})


def test_every_status_is_told() -> None:
    """Where a code comes with several statuses, its section names each but the first."""
    for code in titles("By code"):
        text = PAGE.partition(f"\n### {code}\n")[2].partition("\n### ")[0]
        statuses = {kind.status for kind in kinds(RegistryError) if kind.code == code}
        assert [status for status in sorted(statuses)[1:] if str(status) not in text] == []


def refusal(*options: str, folder: Path) -> str:
    """What the registry says when it does not start."""
    ended = subprocess.run(
        [SCRIPT, "serve", *options],
        cwd=folder,
        env=CLEAN,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode != 0
    return ended.stderr


def test_what_is_said_at_the_start(registry: Server, tmp_path: Path) -> None:
    """The registry's refusals to start have their parts."""
    (tmp_path / "file").touch()
    port = registry.host.partition(":")[2]
    for options in (
        ("--port", port),
        ("--port", "0", "--storage-path", "file/data"),
        ("--host", "0.0.0.0", "--port", "0"),
        ("--set", "storage.pth=data"),
        ("--port", "0", "--set", "auth.htpasswd=missing"),
    ):
        said = refusal(*options, folder=tmp_path)
        assert is_told("When it does not start", said), said


@pytest.mark.clients
def test_what_clients_say(registry: Server, tmp_path: Path) -> None:
    """What clients say of plain HTTP, of nobody there, and of an unknown name has its part."""
    environment = {"HOME": str(tmp_path), "REGISTRY_AUTH_FILE": str(tmp_path / "auth.json")}
    for program, command in (
        ("skopeo", ("inspect", f"docker://{registry.host}/app")),
        ("oras", ("manifest", "fetch", f"{registry.host}/app:v1")),
        ("skopeo", ("inspect", "docker://127.0.0.1:1/app")),
        ("skopeo", ("inspect", "docker://registry.invalid/app")),
    ):
        said = Client(require(program), environment=environment).refused(*command)
        assert is_told("What clients say", said), said
