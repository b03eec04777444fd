"""The documentation as a site: `make docs` builds it, and refuses to where it leads nowhere."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

from tests.docs.blocks import ROOT, pages

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

SECONDS = 250
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=SECONDS, check=False
    )


@pytest.fixture(scope="module")
def site() -> Path:
    """What `make docs` makes."""
    made = run("make", "docs")
    assert made.returncode == 0, made.stdout + made.stderr
    return ROOT / "build/site"


class Loads(HTMLParser):
    """What a page makes a browser fetch, without being clicked on."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        wanted = {"link": "href", "script": "src", "img": "src", "iframe": "src"}.get(tag)
        self.addresses += [value or "" for name, value in attrs if name == wanted]


def test_pages(site: Path) -> None:
    """Every page is built, and none loads anything from elsewhere, nor do its styles."""
    names = {f"{page.removesuffix('.md')}.html" for page in pages()} - {"README.html"}
    assert names <= {path.name for path in site.glob("*.html")}
    for page in names:
        loaded = Loads((site / page).read_text()).addresses
        assert loaded
        assert [address for address in loaded if re.match(r"([a-z]+:)?//", address)] == []
    styles = list(site.glob("**/*.css"))
    assert styles
    for style in styles:
        assert re.findall(r"url\(['\"]?(?:https?:)?//[^)]*", style.read_text()) == []


@pytest.mark.parametrize(
    ("page", "text", "complaint"),
    [
        ("api.md", "[there](nowhere.md)", "'nowhere.md'"),
        ("api.md", "[there](#nowhere)", "'#nowhere'"),
        ("api.md", "[there](storage.md#nowhere)", "'storage.md#nowhere'"),
        ("forgotten.md", "# Forgotten", "forgotten.md"),
    ],
)
def test_what_leads_nowhere(site: Path, tmp_path: Path, page: str, text: str, complaint: str) -> None:
    """A link without its page or its anchor, and a page that the navigation leaves out, fail the build."""
    assert site.is_dir()
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    with (tmp_path / "docs" / page).open("a") as file:
        file.write(f"\n{text}\n")
    built = run(ROOT / "build/docs/bin/mkdocs", "build", "--strict", "--config-file", tmp_path / "mkdocs.yml")
    assert built.returncode == 1
    assert complaint in built.stderr
