"""Tags that never move to another manifest, by patterns of repositories and of tags."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cargohold.types.errors import Denied
from cargohold.types.patterns import compile_patterns
from cargohold.types.tag_patterns import compile_tag_patterns

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cargohold.storage.protocols import TagFixed
    from cargohold.types.names import RepositoryName, Tag


class ImmutableTags:
    """The tags that match a pattern of any of the rules whose pattern the repository matches.

    Each rule is a pattern of repositories, and patterns of tags. Raises ValueError where one is none.
    """

    def __init__(self, rules: Sequence[tuple[str, Sequence[str]]]) -> None:
        self._rules = [(repository, compile_tag_patterns(tags)) for repository, tags in rules]
        self._matching = compile_patterns(repository for repository, _ in rules)

    def within(self, repository: RepositoryName) -> Callable[[Tag], bool] | None:
        """What tells whether a tag of the repository is one of them; None where none is."""
        found = self._matching(repository)
        return (lambda tag: self._naming(found, tag) is not None) if found else None

    def refusal(self, repository: RepositoryName, fixed: TagFixed) -> Denied:
        """What is said of a push that would move such a tag."""
        naming = self._naming(self._matching(repository), fixed.tag)
        why = f" ({naming[1]} in {naming[0]})" if naming else ""
        return Denied(
            f"the tag {fixed.tag} is immutable here{why} and points to {fixed.digest}: push another tag",
            detail={"tag": fixed.tag, "digest": fixed.digest},
        )

    def _naming(self, found: int, tag: Tag) -> tuple[str, str] | None:
        """The first of the rules found, and of its patterns, that names the tag."""
        for place, (repository, matching) in enumerate(self._rules):
            if found >> place & 1 and (pattern := matching(tag)) is not None:
                return repository, pattern
        return None
