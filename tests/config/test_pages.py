"""What the documentation says of settings is what the code does."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from cargohold.config import Settings, load
from tests.config.settings_page import PAGE, page

README = Path(__file__).parents[2] / "README.md"


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a page in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_table() -> None:
    """docs/settings.md ends with the table as the settings are; `python -m tests.config.settings_page` writes it."""
    current = PAGE.read_text()
    assert current == page(current)


@pytest.mark.parametrize("language", ["yaml", "toml", "json"])
def test_examples_are_equal(language: str, tmp_path: Path) -> None:
    """The page's example means the same in each language of files, and in the environment."""
    text = PAGE.read_text()
    (example,), (variables, *_) = blocks(text, language), blocks(text, "sh")
    file = tmp_path / f"example.{language}"
    file.write_text(example)
    environ = dict(word.split("=", 1) for word in shlex.split(variables))
    assert load({"config": str(file)}, {}) == load({}, environ) != Settings()


def test_readme(tmp_path: Path) -> None:
    """The README's three ways to set the same are the same."""
    text = README.read_text()
    file = tmp_path / "registry.yaml"
    (example,) = blocks(text, "yaml")
    file.write_text(example)
    (command,) = re.findall(r"^cargohold serve (--host.*)$", text, re.MULTILINE)
    (variables,) = re.findall(r"^(REGISTRY_HOST=.*) cargohold serve$", text, re.MULTILINE)
    words = shlex.split(command)
    options = {name[2:].replace("-", "."): value for name, value in zip(words[::2], words[1::2], strict=True)}
    environ = dict(word.split("=", 1) for word in shlex.split(variables))
    assert load(options, {}) == load({}, environ) == load({"config": str(file)}, {}) != Settings()
