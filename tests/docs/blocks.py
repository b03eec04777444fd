"""The pages of the documentation, and the fenced blocks on them."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHELLS = frozenset({"sh", "bash", "console"})

_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>[a-z]*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Block:
    """A fenced block: its page (`README.md`, `users.md`), the line of its first line there, its language, its text."""

    page: str
    line: int
    language: str
    text: str

    @property
    def first(self) -> str:
        """Its first line, of a `console` block without the prompt."""
        return self.text.partition("\n")[0].removeprefix("$ ")

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.first}"


def pages() -> list[str]:
    """The README and every page of docs/, by their names."""
    return ["README.md", *sorted(path.name for path in (ROOT / "docs").glob("*.md"))]


def text_of(page: str) -> str:
    """What stands on a page."""
    return (ROOT / page if page == "README.md" else ROOT / "docs" / page).read_text()


def blocks_of(page: str, *languages: str) -> list[Block]:
    """The blocks of a page in their order: those in these languages, or all of them."""
    text = text_of(page)
    found = [
        Block(page, text.count("\n", 0, each.start()) + 2, each["language"], textwrap.dedent(each["text"]))
        for each in _FENCE.finditer(text)
    ]
    return [block for block in found if not languages or block.language in languages]
