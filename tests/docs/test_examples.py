"""Every example of settings in the documentation is read by the registry as it stands."""

from __future__ import annotations

import ast
import json
from typing import TYPE_CHECKING

import pytest

from cargohold.config import Settings, load
from cargohold.types.digest import Digest
from cargohold.types.errors import ManifestBlobUnknown
from tests.docs.blocks import ROOT, Block, blocks_of, pages
from tests.docs.claims import OTHERS
from tests.registry.documents import ABSENT

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLES = [block for page in pages() for block in blocks_of(page, "yaml", "toml", "json")]


def other(block: Block) -> str | None:
    """The test that reads a block which is no settings of ours; None where it is."""
    return OTHERS.get(f"{block.page}: {block.first}")


@pytest.mark.parametrize("block", [each for each in EXAMPLES if not other(each)], ids=str)
def test_settings(block: Block, tmp_path: Path) -> None:
    """The example is valid, and sets something."""
    file = tmp_path / f"registry.{block.language}"
    file.write_text(block.text)
    settings = load({"config": str(file)}, {})
    assert block.text == "auth: {}\n" or settings != Settings()


@pytest.mark.parametrize(("begins", "claim"), OTHERS.items())
def test_others(begins: str, claim: str) -> None:
    """What is not ours to read is on its page, and the test that reads it is there."""
    assert begins in {f"{block.page}: {block.first}" for block in EXAMPLES}
    file, _, name = claim.partition("::")
    tree = ast.parse((ROOT / "tests" / file).read_text())
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_an_error() -> None:
    """The example of an error is what is answered, but for the digest."""
    (example,) = blocks_of("api.md", "json")
    answered = {"errors": ManifestBlobUnknown([Digest(ABSENT)]).entries()}
    assert json.loads(example.text.replace("sha256:...", ABSENT)) == answered
