"""Grants: the union of what each gives, and the one form in which they are written down."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cargohold.auth.grants import Grant, Grants
from cargohold.types.names import RepositoryName
from cargohold.types.operations import Permission
from tests.types.test_patterns import NAMES, PATTERNS, matches

P, U, D, C = Permission.PULL, Permission.PUSH, Permission.DELETE, Permission.CATALOG

GRANT = st.builds(Grant, pattern=PATTERNS, permissions=st.frozensets(st.sampled_from([P, U, D, C])))
GRANTS = st.lists(GRANT, max_size=5).map(lambda grants: Grants(tuple(grants)))


@given(GRANTS, st.sampled_from([P, U, D]), NAMES.map(RepositoryName))
def test_the_union(grants: Grants, permission: Permission, repository: RepositoryName) -> None:
    """A permission is held on a repository where one of the grants has it, and a pattern that matches."""
    assert grants.allows(permission, repository) is any(
        permission in grant.permissions and matches(grant.pattern.split("/"), repository.split("/"))
        for grant in grants.grants
    )


def test_a_permission_is_held_where_it_was_granted() -> None:
    """What one grant gives is given where its own pattern matches, and not where that of another does."""
    grants = Grants(
        (Grant("a/*", frozenset({P})), Grant("b", frozenset({U})), Grant("a/b", frozenset({U, D})))
    )
    held = {
        name: {each for each in (P, U, D) if grants.allows(each, RepositoryName(name))}
        for name in ("a", "a/a", "a/b", "b")
    }
    assert held == {"a": set(), "a/a": {P}, "a/b": {P, U, D}, "b": {U}}


@given(GRANTS)
def test_the_catalog(grants: Grants) -> None:
    """The catalog is held where a grant has it, whatever its pattern; nothing else is held of no repository."""
    assert grants.allows(C, None) is any(C in grant.permissions for grant in grants.grants)
    assert not any(grants.allows(permission, None) for permission in Permission if permission is not C)
    assert not grants.allows(C, RepositoryName("a"))
    assert not grants.allows(Permission.ENTER, RepositoryName("a"))


@given(GRANTS)
def test_written_and_read(grants: Grants) -> None:
    """What is written down is read as the same, and written the same again."""
    text = grants.as_text()
    read = Grants.from_text(text)
    assert (read, hash(read), read.as_text()) == (grants, hash(grants), text)


def test_the_form() -> None:
    """JSON without spaces, the permissions in the order of the alphabet."""
    grants = Grants(
        (Grant("org/*", frozenset({U, P, D})), Grant("**", frozenset({C})), Grant("a", frozenset()))
    )
    assert grants.as_text() == '[["org/*",["delete","pull","push"]],["**",["catalog"]],["a",[]]]'
    assert repr(grants) == f"Grants({grants.as_text()})"
    assert grants != Grants(grants.grants[:1])
    assert grants != grants.as_text()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "{}",
        "[[]]",
        '["a"]',
        '[["a"]]',
        '[["a","pull"]]',
        '[["a",["pull"],1]]',
        '[["a",["read"]]]',
        '[["a",["enter"]]]',
        '[["a",["PULL"]]]',
        '[["a",[null]]]',
        '[[1,["pull"]]]',
        '[["",["pull"]]]',
        '[["a//b",["pull"]]]',
        '[["A",["pull"]]]',
        '[["a",["push","pull"]]]',
        '[["a",["pull","pull"]]]',
        '[["a", ["pull"]]]',
        ' [["a",["pull"]]]',
        '[["a",["pull"]]]\n',
        '[["a",["pull"]]][]',
        '[["\\u0061",["pull"]]]',
        '[["a",["pull"]]',
        "[" * 10_000,
        '[["a",["pull\ud800"]]]',
    ],
)
def test_anything_else(text: str) -> None:
    """What was not written by `as_text` is refused, another spelling of the same included."""
    with pytest.raises(ValueError, match=r"these are no grants|is no pattern of repositories"):
        Grants.from_text(text)


def test_grants_that_mean_nothing() -> None:
    """A pattern that is none cannot be granted, and neither can what comes with every login."""
    with pytest.raises(ValueError, match="is no pattern of repositories"):
        Grant("a//b", frozenset({P}))
    for permission in (Permission.ENTER, Permission.METRICS):
        with pytest.raises(ValueError, match="cannot be granted"):
            Grant("a", frozenset({P, permission}))
