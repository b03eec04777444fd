"""Tables of who may do what where, under several sets of rules; each cell is read into its cases.

A cell has the letters of what is allowed: `p` pull, `u` push, `d` delete, `c` the catalog; after the colon stands the
number of the rule that decided, 0 where none did. The column `-` is who is not signed in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from cargohold.auth.rules import Rule, Rules
from cargohold.types.names import RepositoryName
from cargohold.types.operations import Permission

if TYPE_CHECKING:
    from collections.abc import Iterator

P, U, D, C = Permission.PULL, Permission.PUSH, Permission.DELETE, Permission.CATALOG

OF_A_REPOSITORY = {"p": P, "u": U, "d": D}
OF_THE_REGISTRY = {"c": C}


def rule(repository: str, actions: str, users: str = "", groups: str = "") -> Rule:
    """A rule; the actions are letters as in the tables, users and groups stand between spaces."""
    letters = OF_A_REPOSITORY | OF_THE_REGISTRY
    allowed = frozenset(letters[each] for each in actions)
    return Rule(allowed, repository, tuple(users.split()), tuple(groups.split()))


# ann and bob develop, olga and oscar operate, bob does both; root administers; eve is in the htpasswd file alone.
COMPANY = Rules(
    [
        rule("library/**", "pud", groups="operators"),  # 1
        rule("library/**", "p", users="* anonymous"),  # 2
        rule("secret/**", "pu", users="olga"),  # 3
        rule("secret/**", "", users="*"),  # 4
        rule("team-*/**", "pu", groups="developers"),  # 5
        rule("home/ann/**", "pud", users="ann"),  # 6
        rule("ci/*/cache", "pud", users="robot"),  # 7
        rule("ci/**", "p", users="robot", groups="developers"),  # 8
        rule("**/public", "p", users="anonymous"),  # 9
        rule("team-a/*", "d", groups="developers"),  # 10: never reached, rule 5 stands before it
        rule("**", "pc", groups="operators developers"),  # 11
    ],
    groups={"developers": ["ann", "bob"], "operators": ["olga", "oscar", "bob"]},
    administrators=["root"],
    default=None,
)
COMPANY_TABLE = """
                     -       ann     bob     olga    oscar   robot   eve     root
library              p:2     p:2     pud:1   pud:1   pud:1   p:2     p:2     pud:0
library/alpine       p:2     p:2     pud:1   pud:1   pud:1   p:2     p:2     pud:0
library/a/public     p:2     p:2     pud:1   pud:1   pud:1   p:2     p:2     pud:0
librarys             :0      p:11    p:11    p:11    p:11    :0      :0      pud:0
secret               :0      :4      :4      pu:3    :4      :4      :4      pud:0
secret/key           :0      :4      :4      pu:3    :4      :4      :4      pud:0
secret/public        p:9     :4      :4      pu:3    :4      :4      :4      pud:0
team-a               :0      pu:5    pu:5    p:11    p:11    :0      :0      pud:0
team-a/app           :0      pu:5    pu:5    p:11    p:11    :0      :0      pud:0
team-b/c/public      p:9     pu:5    pu:5    p:11    p:11    :0      :0      pud:0
team                 :0      p:11    p:11    p:11    p:11    :0      :0      pud:0
home/ann             :0      pud:6   p:11    p:11    p:11    :0      :0      pud:0
home/ann/app         :0      pud:6   p:11    p:11    p:11    :0      :0      pud:0
home/bob/app         :0      p:11    p:11    p:11    p:11    :0      :0      pud:0
ci/app/cache         :0      p:8     p:8     p:11    p:11    pud:7   :0      pud:0
ci/app/cache/more    :0      p:8     p:8     p:11    p:11    p:8     :0      pud:0
ci/cache             :0      p:8     p:8     p:11    p:11    p:8     :0      pud:0
public               p:9     p:11    p:11    p:11    p:11    :0      :0      pud:0
else                 :0      p:11    p:11    p:11    p:11    :0      :0      pud:0
(catalog)            :0      c:11    c:11    c:11    c:11    :0      :0      c:0
"""

# A default beside the rules; users whose names are words of the rules; the order that makes a rule mute.
DEFAULT = Rules(
    [
        rule("open/**", "p", users="anonymous"),  # 1
        rule("shared/*", "pud", users="*"),  # 2
        rule("**", "c", users="lister"),  # 3: which decides the catalog for lister, and no repository
        rule("**", "puc", users="lister anonymous-cat"),  # 4
        rule("shared/**", "", users="* anonymous"),  # 5
    ],
    groups={"empty": []},
    administrators=[],
    default=frozenset({P, U}),
)
DEFAULT_TABLE = """
                     -       "-"     "*"     ann     lister  anonymous-cat
open                 p:1     pu:0    pu:0    pu:0    pu:4    pu:4
open/a               p:1     pu:0    pu:0    pu:0    pu:4    pu:4
shared               :5      :5      :5      :5      pu:4    pu:4
shared/a             :5      pud:2   pud:2   pud:2   pud:2   pud:2
shared/a/b           :5      :5      :5      :5      pu:4    pu:4
else                 :0      pu:0    pu:0    pu:0    pu:4    pu:4
(catalog)            :0      :0      :0      :0      c:3     c:4
"""

# No rules: what is configured is that one must sign in, and no more.
SIGNED_IN = Rules([], groups={}, administrators=["root"], default=None)
SIGNED_IN_TABLE = """
                     -       ann     root
a                    :0      pud:0   pud:0
a/b                  :0      pud:0   pud:0
(catalog)            :0      c:0     c:0
"""

# No rules, and a default that lets read.
READERS = Rules([], groups={}, administrators=["root"], default=frozenset({P, C}))
READERS_TABLE = """
                     -       ann     root
a                    :0      p:0     pud:0
(catalog)            :0      c:0     c:0
"""

# A default that is empty, and one rule.
CLOSED = Rules([rule("a", "pd", users="ann")], groups={}, administrators=[], default=frozenset())
CLOSED_TABLE = """
                     -       ann     bob
a                    :0      pd:1    :0
b                    :0      :0      :0
(catalog)            :0      :0      :0
"""


class Case(NamedTuple):
    """One question, and its answer."""

    rules: Rules
    user: str | None
    permission: Permission
    repository: RepositoryName | None
    allowed: bool
    rule: int | None


def user_of(column: str) -> str | None:
    """Whom a column is about; `"-"` is one who signs in by the name anonymous."""
    return {"-": None, '"-"': "anonymous", '"*"': "*"}.get(column, column)


def cases(place: str, rules: Rules, table: str) -> Iterator[object]:
    """Each cell of the table, once for each action."""
    header, *rows = table.strip("\n").splitlines()
    users = header.split()
    for name, *cells in map(str.split, rows):
        repository = None if name == "(catalog)" else RepositoryName(name)
        for user, cell in zip(users, cells, strict=True):
            letters, number = cell.split(":")
            for letter, permission in (OF_THE_REGISTRY if repository is None else OF_A_REPOSITORY).items():
                case = Case(
                    rules, user_of(user), permission, repository, letter in letters, int(number) or None
                )
                yield pytest.param(case, id=f"{place}: {user} {permission.value} {name}")


CASES = [
    *cases("company", COMPANY, COMPANY_TABLE),
    *cases("default", DEFAULT, DEFAULT_TABLE),
    *cases("signed in", SIGNED_IN, SIGNED_IN_TABLE),
    *cases("readers", READERS, READERS_TABLE),
    *cases("closed", CLOSED, CLOSED_TABLE),
]


@pytest.mark.parametrize("case", CASES)
def test_case(case: Case) -> None:
    """The first rule that names the user and the repository decides, and it is the one that an explanation names."""
    authority = case.rules.anonymous if case.user is None else case.rules.of(case.user)
    assert authority.allows(case.permission, case.repository) is case.allowed
    decision = case.rules.explain(case.user, case.permission, case.repository)
    assert (decision.allowed, decision.rule) == (case.allowed, case.rule)


def test_the_tables_are_whole() -> None:
    """There are more than two hundred questions, and no two of them are the same."""
    assert len({case.id for case in CASES}) == len(CASES) > 200  # type: ignore[attr-defined]
