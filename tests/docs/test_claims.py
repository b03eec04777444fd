"""Every command in the documentation is run by a test, and whoever claims to run one is there."""

from __future__ import annotations

import ast
import re

import pytest

from tests.docs.blocks import ROOT, SHELLS, Block, blocks_of, pages, text_of
from tests.docs.claims import CLAIMED, TYPED, claim_of

FENCE = re.compile(r"^ *(?:```|~~~)(.*)$", re.MULTILINE)
COMMANDS = [block for page in pages() for block in blocks_of(page, *SHELLS)]


def functions(file: str) -> set[str]:
    tree = ast.parse((ROOT / "tests" / file).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("page", pages())
def test_every_fence_is_found(page: str) -> None:
    """Each fence on a page begins or ends a block whose language is one word, so that none goes unseen."""
    fences = FENCE.findall(text_of(page))
    assert fences[1::2] == [""] * (len(fences) // 2)
    assert [block.language for block in blocks_of(page)] == fences[::2]


@pytest.mark.parametrize("block", COMMANDS, ids=str)
def test_every_command_is_run(block: Block) -> None:
    """The block is on a page that is typed, or claimed by a test."""
    assert (block.page in TYPED) != (claim_of(block.page, block.first) is not None)


@pytest.mark.parametrize("page", CLAIMED)
def test_every_claim_has_its_block(page: str) -> None:
    """No claim is left of a block that has gone."""
    assert {claim_of(page, block.first) for block in COMMANDS if block.page == page} == set(CLAIMED[page])


@pytest.mark.parametrize("claim", sorted({claim for claims in CLAIMED.values() for claim in claims.values()}))
def test_every_claimant_is_there(claim: str) -> None:
    """The test that runs a block exists."""
    file, _, name = claim.partition("::")
    assert name in functions(file)


def test_every_page_is_linked() -> None:
    """The README and the first page of docs/ lead to each of the others."""
    others = set(pages()) - {"README.md", "index.md"}
    assert set(re.findall(r"\]\(docs/([a-z]+\.md)", text_of("README.md"))) == others
    assert set(re.findall(r"\]\(([a-z]+\.md)", text_of("index.md"))) == others


def test_no_page_is_linked_twice() -> None:
    """The list at the end of the README, and the table of the first page, name each page once."""
    listed = re.findall(r"^- \[.*\]\((.*)\)", text_of("README.md"), re.MULTILINE)
    rows = re.findall(r"^\|.*$", text_of("index.md"), re.MULTILINE)
    for names in (listed, re.findall(r"\]\((.*?)\)", "".join(rows))):
        assert sorted(names) == sorted(set(names))
