"""Who may do what in which repositories: ordered rules, of which the first that matches decides."""

from __future__ import annotations

from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING

import msgspec

from cargohold.types.operations import Permission
from cargohold.types.patterns import check_pattern, compile_patterns

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cargohold.auth.identity import Authority
    from cargohold.types.names import RepositoryName

_EVERYONE = "*"
_ANONYMOUS = "anonymous"
_EVERYWHERE = "**"

_EVERYTHING = frozenset({Permission.PULL, Permission.PUSH, Permission.DELETE, Permission.CATALOG})
_NOTHING: frozenset[Permission] = frozenset()

_CATALOG = Permission.CATALOG  # to look it up takes a call in Python, before 3.12
_REMEMBERED = 4096  # repositories


class Rule(msgspec.Struct, frozen=True):
    """What those whom it names may do in the repositories that match its pattern (see `types.patterns`).

    Among the users `*` is everyone who is signed in, and `anonymous` whoever is not. No actions: nothing is allowed.
    """

    actions: frozenset[Permission]
    repository: str = _EVERYWHERE
    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


class Decision(msgspec.Struct, frozen=True):
    """What was decided, why, in words, and by which rule, counted from 1; None where no rule decided."""

    allowed: bool
    reason: str
    rule: int | None


class Rules:
    """Whom the rules allow what. Nothing is looked up outside: the same question has always the same answer.

    Of the rules that name the user and match the repository the first decides, whatever stands after it. The catalog
    is of no repository: it is for the rules of `**` alone to decide, and a rule that allows it and nothing else is for
    it alone. Where no rule decides, a user who is signed in
    may do what is in `default`; where that is None, everything if there are no rules at all, and nothing if there are
    some. Without a login one may then do nothing. Administrators may do everything, before any rule is asked.

    A user who signs in as `*` or as `anonymous` is none of those whom these words mean in a rule, but one more user,
    whom only the rules for everyone name; neither word may stand in a group or among the administrators.

    Raises ValueError where a rule's pattern is none, or a rule names a group that is not in `groups`.
    """

    def __init__(
        self,
        rules: Iterable[Rule],
        *,
        groups: Mapping[str, Sequence[str]],
        administrators: Sequence[str],
        default: frozenset[Permission] | None,
    ) -> None:
        self._rules = tuple(rules)
        _check(self._rules, groups, administrators)
        self._administrators = frozenset(administrators)
        self._default = default
        self._fallback = default if default is not None else _NOTHING if self._rules else _EVERYTHING
        self._order = _Order(self._rules)
        self._naming = _naming(self._rules, groups)
        self._naming_everyone = self._naming.pop(_EVERYONE, 0)
        self._anonymous = _Ruled(self._order, self._naming.pop(_ANONYMOUS, 0), _NOTHING)

    @property
    def anonymous(self) -> Authority:
        """What one may do without a login."""
        return self._anonymous

    @property
    def anonymous_may_something(self) -> bool:
        """Whether a rule allows anything without a login."""
        return any(_ANONYMOUS in rule.users and rule.actions for rule in self._rules)

    def of(self, user: str) -> Authority:
        """What one may do who is signed in by this name."""
        return self._of(user)

    def explain(
        self, user: str | None, permission: Permission, repository: RepositoryName | None
    ) -> Decision:
        """What the authority of a user (None: without a login) answers, and why.

        Raises ValueError for the catalog of a repository, and for anything else of none.
        """
        if (repository is None) is not (permission is Permission.CATALOG):
            raise ValueError("the catalog is of no repository, and everything else is of one")
        ruled = self._anonymous if user is None else self._of(user)
        allowed = ruled.allows(permission, repository)
        number = ruled.rule(repository)
        if number:
            words = describe(self._rules[number - 1].actions)
            return Decision(
                allowed, f"rule {number} is the first that matches, and it allows {words}", number
            )
        return Decision(allowed, self._without_rule(user), None)

    def _of(self, user: str) -> _Ruled:
        if user in self._administrators:
            return _Ruled(self._order, 0, _EVERYTHING)
        return _Ruled(self._order, self._naming_everyone | self._naming.get(user, 0), self._fallback)

    def _without_rule(self, user: str | None) -> str:
        if user is None:
            return "no rule matches, and without a login nothing else is allowed"
        if user in self._administrators:
            return "administrators may do everything"
        if self._default is not None:
            return f"no rule matches, and the default allows {describe(self._default)}"
        if self._rules:
            return "no rule matches, and where there are rules and no default nothing else is allowed"
        return "there are no rules and no default: whoever is signed in may do everything"


def describe(permissions: Iterable[Permission]) -> str:
    """Permissions in words: "pull, push", or "nothing"."""
    return ", ".join(p.value for p in Permission if p in frozenset(permissions)) or "nothing"


class _Order:
    """The rules in their order. Which of them name a user is a set of bits, bit 0 that of the first rule."""

    __slots__ = ("_everywhere", "_matching", "_of_repositories", "actions")

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self.actions = tuple(rule.actions for rule in rules)
        self._everywhere = sum(1 << bit for bit, rule in enumerate(rules) if rule.repository == _EVERYWHERE)
        self._of_repositories = sum(
            1 << bit for bit, rule in enumerate(rules) if rule.actions != {Permission.CATALOG}
        )
        # Which rules match a repository is the same for all users: it is found once, and remembered for all of them.
        self._matching = lru_cache(_REMEMBERED)(compile_patterns(rule.repository for rule in rules))

    def first(self, naming: int, repository: RepositoryName | None) -> int:
        """The number of the rule that decides, counted from 1; 0 where none does. None is the catalog."""
        if repository is None:
            deciding = naming & self._everywhere
        else:
            deciding = naming & self._of_repositories & self._matching(repository)
        return (deciding & -deciding).bit_length()


class _Ruled(msgspec.Struct, frozen=True):
    """An `Authority`: what is allowed to those whom the rules in `naming` name; `otherwise` where none decides.

    Users of whom the same rules speak have equal ones, so that what was found out for one of them holds for all.
    """

    order: _Order
    naming: int
    otherwise: frozenset[Permission]

    def allows(self, permission: Permission, repository: RepositoryName | None) -> bool:
        """See `Authority`."""
        if (repository is None) is not (permission is _CATALOG):
            return False
        number = self.order.first(self.naming, repository)
        return permission in (self.order.actions[number - 1] if number else self.otherwise)

    def rule(self, repository: RepositoryName | None) -> int:
        """The number of the rule that decides, 0 where none does."""
        return self.order.first(self.naming, repository)


def _naming(rules: tuple[Rule, ...], groups: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """The bits of the rules that name a user, `*` and `anonymous` among them, by name or by a group."""
    naming: dict[str, int] = {}
    for bit, rule in enumerate(rules):
        for user in chain(rule.users, *(groups[group] for group in rule.groups)):
            naming[user] = naming.get(user, 0) | 1 << bit
    return naming


def _check(
    rules: tuple[Rule, ...], groups: Mapping[str, Sequence[str]], administrators: Sequence[str]
) -> None:
    """Raises ValueError where the parts do not fit each other."""
    for number, rule in enumerate(rules, 1):
        try:
            check_pattern(rule.repository)
        except ValueError as error:
            raise ValueError(f"rule {number}: {error}") from None
        for group in rule.groups:
            if group not in groups:
                raise ValueError(f"rule {number}: there is no group {group!r}")
    _check_names("the administrators", administrators)
    for group, members in groups.items():
        _check_names(f"group {group}", members)


def _check_names(place: str, names: Sequence[str]) -> None:
    for word in (_EVERYONE, _ANONYMOUS):
        if word in names:
            raise ValueError(
                f"{place}: {word!r} is no user's name: it may stand among the users of a rule alone"
            )
