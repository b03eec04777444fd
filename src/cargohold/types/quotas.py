"""Quotas: how many bytes the repositories of a pattern may hold, each for itself or all of them together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from cargohold.types.patterns import compile_patterns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cargohold.types.names import RepositoryName

_REMEMBERED: Final = 4_096


class Quota(msgspec.Struct, frozen=True):
    """The repositories that match a pattern may hold so many bytes: `each` for itself, or all of them together."""

    repository: str
    bytes: int
    each: bool = False

    def shortage(self, repository: RepositoryName | None, used: int, more: int) -> str:
        """What is said where, with so many bytes `used`, so many `more` do not fit: of a repository, or of all."""
        if repository is None:
            holder = f"the repositories {self.repository} together"
        elif repository == self.repository:
            holder = f"the repository {repository}"
        else:
            holder = f"the repository {repository}, by the quota of each in {self.repository},"
        lack = "nothing is left" if used >= self.bytes else f"{more:,} more do not fit"
        return f"{holder} may hold {self.bytes:,} bytes, of which {used:,} are used: {lack}"


class QuotaUse(msgspec.Struct, frozen=True):
    """How many bytes are `used` of a quota; of one of `each`, by the repository that uses most."""

    quota: Quota
    used: int


class Quotas:
    """The quotas of a registry. A repository is under every one whose pattern it matches. Safe for threads.

    Raises ValueError where a pattern is none.
    """

    def __init__(self, quotas: Sequence[Quota] = ()) -> None:
        self._quotas = tuple(quotas)
        self._matches = compile_patterns(quota.repository for quota in quotas)
        self._found: dict[RepositoryName, tuple[Quota, ...]] = {}

    def effective(self) -> list[Quota]:
        """All of them, but of those that are about the same repositories in the same way the smallest alone."""
        found: dict[tuple[str, bool], Quota] = {}
        for quota in sorted(self._quotas, key=lambda quota: quota.bytes):
            found.setdefault((quota.repository, quota.each), quota)
        return list(found.values())

    def of(self, repository: RepositoryName) -> tuple[Quota, ...]:
        """The quotas that hold for a repository, in their order."""
        if not self._quotas:
            return ()
        found = self._found.get(repository)
        if found is None:
            matching = self._matches(repository)
            found = tuple(quota for number, quota in enumerate(self._quotas) if matching >> number & 1)
            if len(self._found) >= _REMEMBERED:
                self._found.clear()
            self._found[repository] = found
        return found
