"""Patterns of repositories as arguments, each of which must match one: another is not what somebody meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cargohold.cli.refusal import Refused
from cargohold.types.patterns import compile_patterns

if TYPE_CHECKING:
    from cargohold.storage.layout import Layout
    from cargohold.types.names import RepositoryName


class Unmatched(Refused):
    """A pattern matches no repository; the exit code is 2, as for whatever cannot be understood."""

    exit_code = 2


class Patterns:
    """Tells whether a repository matches one of the patterns, and remembers which have matched any.

    Raises ValueError where one is no pattern of repositories.
    """

    def __init__(self, texts: tuple[str, ...]) -> None:
        self._texts, self._matches = texts, compile_patterns(texts)
        self._found: set[int] = set()

    def __call__(self, name: RepositoryName) -> bool:
        """Whether it matches. For threads."""
        bits = self._matches(name)
        self._found.add(bits)
        return bits != 0

    def require_all(self) -> None:
        """Raise Unmatched where one has matched nothing so far."""
        for number, text in enumerate(self._texts):
            if not self._has_matched(number):
                raise Unmatched(
                    f"no repository matches {text!r}: give a whole name, or a pattern such as 'team/**'"
                )

    def require_all_in(self, layout: Layout) -> None:
        """Raise Unmatched where one matches no repository of a tree; StoreError where some of it cannot be read."""
        from cargohold.storage.filesystem.tree import told  # noqa: PLC0415 - --help need not wait for them
        from cargohold.storage.filesystem.walk import all_repositories  # noqa: PLC0415

        with told():
            for name, _ in all_repositories(layout.repositories):
                if self(name) and all(map(self._has_matched, range(len(self._texts)))):
                    return
        self.require_all()

    def _has_matched(self, number: int) -> bool:
        return any(bits >> number & 1 for bits in self._found)


def matching(
    _context: click.Context, _parameter: click.Parameter, patterns: tuple[str, ...]
) -> Patterns | None:
    """None where there are no patterns."""
    try:
        return Patterns(patterns) if patterns else None
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
