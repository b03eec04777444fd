"""Which images are meant: patterns of repositories, each with a pattern of tags or without."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cargohold.types.patterns import compile_pattern
from cargohold.types.tag_patterns import compile_tag_patterns

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cargohold.types.names import RepositoryName, Tag


class Selection:
    """What `PATTERN` and `PATTERN:TAGS` select, everything where there is none. Raises ValueError where one is neither.

    A repository that is selected by a pattern alone is meant with all that it holds. `unmatched` are those of the
    patterns that have selected nothing so far.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._parts = [_Part(text) for text in dict.fromkeys(texts)]
        if not texts:
            self._parts.append(_Part("**"))
            self._parts[0].has_matched = True

    @property
    def unmatched(self) -> list[str]:
        """Patterns that have selected nothing."""
        return [part.text for part in self._parts if not part.has_matched]

    def selects_all(self, repository: RepositoryName) -> bool:
        """Whether all of the repository is meant."""
        parts = [part for part in self._parts if part.tags is None and part.repository(repository)]
        for part in parts:
            part.has_matched = True
        return bool(parts)

    def selects_some(self, repository: RepositoryName) -> bool:
        """Whether tags of the repository may be meant."""
        return any(part.repository(repository) for part in self._parts)

    def selects(self, repository: RepositoryName, tag: Tag) -> bool:
        """Whether the tag is meant."""
        parts = [part for part in self._parts if part.repository(repository) and part.selects_tag(tag)]
        for part in parts:
            part.has_matched = True
        return bool(parts)


class _Part:
    def __init__(self, text: str) -> None:
        repository, colon, tags = text.partition(":")
        self.text = text
        self.has_matched = False
        self.repository: Callable[[str], bool] = compile_pattern(repository)
        self.tags: Callable[[str], str | None] | None = compile_tag_patterns((tags,)) if colon else None

    def selects_tag(self, tag: Tag) -> bool:
        return self.tags is None or self.tags(tag) is not None
