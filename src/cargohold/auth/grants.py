"""What robots and workloads may do: permissions on patterns of repositories, in a form that can be written down."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Literal

import msgspec

from cargohold.types.operations import Permission
from cargohold.types.patterns import check_pattern, compile_patterns

if TYPE_CHECKING:
    from collections.abc import Callable

    from cargohold.types.names import RepositoryName

_OF_EVERY_LOGIN = {Permission.ENTER, Permission.METRICS}
_Written = list[tuple[str, list[Literal["catalog", "delete", "pull", "push"]]]]


class Grant(msgspec.Struct, frozen=True):
    """Permissions on the repositories that match a pattern (see `types.patterns`).

    Raises ValueError where the pattern is none, or a permission is one that cannot be granted (ENTER, METRICS).
    """

    pattern: str
    permissions: frozenset[Permission]

    def __post_init__(self) -> None:
        """Refuse what means nothing."""
        check_pattern(self.pattern)
        if self.permissions & _OF_EVERY_LOGIN:
            raise ValueError(
                "to enter and to read metrics cannot be granted: whoever shows a valid login may"
            )


class Grants:
    """An `Authority`: what at least one of the grants gives. CATALOG is of no repository: any grant may give it."""

    def __init__(self, grants: tuple[Grant, ...]) -> None:
        self.grants = grants

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Grants) and self.grants == other.grants

    def __hash__(self) -> int:
        return hash(self.grants)

    def __repr__(self) -> str:
        return f"Grants({self.as_text()})"

    def allows(self, permission: Permission, repository: RepositoryName | None) -> bool:
        """See `Authority`."""
        granting = self._granting.get(permission, 0)
        if repository is None or permission is Permission.CATALOG:
            return repository is None and permission is Permission.CATALOG and granting != 0
        return granting != 0 and self._matching(repository) & granting != 0

    # Found when first asked: of thousands of robots few are at work.
    @cached_property
    def _matching(self) -> Callable[[str], int]:
        return compile_patterns(grant.pattern for grant in self.grants)

    @cached_property
    def _granting(self) -> dict[Permission, int]:
        """The bits of the grants that give a permission."""
        return {
            permission: sum(
                1 << bit for bit, grant in enumerate(self.grants) if permission in grant.permissions
            )
            for permission in Permission
        }

    def as_text(self) -> str:
        """In compact JSON: a list of patterns, each with its permissions in the order of the alphabet."""
        written = [
            (grant.pattern, sorted(permission.value for permission in grant.permissions))
            for grant in self.grants
        ]
        return msgspec.json.encode(written).decode()

    @classmethod
    def from_text(cls, text: str) -> Grants:
        """What `as_text` has written. Raises ValueError on anything else, another spelling of the same included."""
        try:
            written = msgspec.json.decode(text, type=_Written)
        except (msgspec.DecodeError, UnicodeError) as error:
            raise ValueError(f"these are no grants: {error}") from None
        grants = cls(tuple(Grant(pattern, frozenset(map(Permission, words))) for pattern, words in written))
        if grants.as_text() != text:
            raise ValueError("these are no grants as they are written")
        return grants
