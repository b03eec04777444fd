"""Who asks, and what they may do."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from cargohold.types.operations import Access, Permission

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cargohold.types.names import RepositoryName


# To look up a member of an Enum takes a call in Python, before 3.12.
_ENTER: Final = Permission.ENTER
_METRICS: Final = Permission.METRICS


class Authority(Protocol):
    """What someone may do. Pure and quick: it is asked at every request, and for each entry of the catalog."""

    def allows(self, permission: Permission, repository: RepositoryName | None) -> bool:
        """Whether the permission is held on a repository, or (CATALOG, with None) on the registry.

        It is never asked of ENTER and METRICS.
        """
        ...


class Kind(Enum):
    """How someone is known, which decides what a refusal says."""

    NOBODY = "nobody"
    """No login was shown."""
    PASSWORD = "password"  # noqa: S105 - a word, no secret
    """By a password, a robot's secret, or an id token in the place of one."""
    TOKEN = "token"  # noqa: S105 - a word, no secret
    """By a bearer token, an anonymous one included: a wider one may be had."""


class Identity(msgspec.Struct, frozen=True):
    """Who asks.

    `name` is the user's, the robot's or the workload's, empty for anonymous. `scope` narrows the authority to what
    a token was issued for; None where nothing does. `sort` is the subject's kind (see `protocols.Subject`), since a
    robot may have the name of a user; empty where another token service says the name.
    """

    kind: Kind
    name: str
    authority: Authority
    scope: Scope | None = None
    sort: str = ""

    def may(self, permission: Permission, repository: RepositoryName | None = None) -> bool:
        """Whether this request may do it."""
        if permission is _ENTER:
            return self.kind is not Kind.NOBODY
        if permission is _METRICS:
            return self.name != "" or self is EVERYONE
        if self.scope is not None and not self.scope.allows(permission, repository):
            return False
        return self.authority.allows(permission, repository)

    def view(self) -> Sight | None:
        """Which repositories exist for it, where content is looked for; None: all.

        They are those that its user may pull from, whatever a token was issued for.
        """
        return None if self is EVERYONE else Sight(self.authority)

    def catalog_view(self) -> Sight | None:
        """Which repositories the catalog shows it; None: all.

        All to the token of a foreign service that grants the catalog: no other place of such a token could say which
        repositories its user may pull.
        """
        return None if isinstance(self.authority, Scope) else self.view()


class Sight(msgspec.Struct, frozen=True):
    """See `storage.protocols.View`: what an authority lets pull."""

    authority: Authority

    def __call__(self, repository: RepositoryName) -> bool:
        """Whether it may be pulled from."""
        return self.authority.allows(Permission.PULL, repository)


class Scope:
    """The accesses that a token names, and no others; also the authority of whoever is known by nothing else."""

    __slots__ = ("accesses",)

    def __init__(self, accesses: Iterable[Access]) -> None:
        self.accesses = frozenset(accesses)

    def allows(self, permission: Permission, repository: RepositoryName | None) -> bool:
        """See `Authority`."""
        # A pair is equal to an Access, and made in half the time.
        return (permission, repository) in self.accesses


class _Everything:
    """The authority of everyone, on a registry that asks nobody for a login."""

    def allows(self, permission: Permission, repository: RepositoryName | None) -> bool:  # noqa: ARG002
        return True


EVERYONE = Identity(Kind.PASSWORD, "", _Everything())
"""Who asks where nobody needs a login: may do everything."""
