"""Rules: what they agree with, what they refuse, what they never answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cargohold.auth.identity import Identity, Kind
from cargohold.auth.rules import Rule, Rules
from cargohold.types.names import RepositoryName
from cargohold.types.operations import Permission
from tests.types.test_patterns import matches

P, U, D, C = Permission.PULL, Permission.PUSH, Permission.DELETE, Permission.CATALOG

USERS = ["ann", "bob", "cid", "*", "anonymous"]
GROUPS = {"all": ["ann", "bob", "cid"], "some": ["bob", "cid"], "none": []}
PATTERNS = ["**", "a", "b", "a/*", "*/b", "a/**", "**/b", "a*/**", "a/**/b", "*b"]
REPOSITORIES = [RepositoryName(name) for name in ("a", "b", "ab", "a/b", "b/b", "a/a/b", "a/b/a", "ab/a")]

ACTIONS = st.frozensets(st.sampled_from([P, U, D, C]))
RULE = st.builds(
    Rule,
    actions=ACTIONS,
    repository=st.sampled_from(PATTERNS),
    users=st.lists(st.sampled_from(USERS), max_size=2).map(tuple),
    groups=st.lists(st.sampled_from(list(GROUPS)), max_size=2).map(tuple),
)
SET = st.tuples(st.lists(RULE, max_size=8), st.none() | ACTIONS)
ASKERS = st.sampled_from([None, "ann", "bob", "cid", "dan", "root", "*", "anonymous"])
QUESTION = st.tuples(
    ASKERS,
    st.one_of(
        st.tuples(st.sampled_from([P, U, D]), st.sampled_from(REPOSITORIES)),
        st.tuples(st.just(C), st.none()),
    ),
)


def ruled(rules: list[Rule], default: frozenset[Permission] | None = None) -> Rules:
    return Rules(rules, groups=GROUPS, administrators=["root"], default=default)


def names(rule: Rule, user: str | None) -> bool:
    """Whether the rule is about the user, said anew."""
    if user is None:
        return "anonymous" in rule.users
    if "*" in rule.users or any(user in GROUPS[group] for group in rule.groups):
        return True
    return user not in ("*", "anonymous") and user in rule.users


def decided(
    rules: list[Rule],
    default: frozenset[Permission] | None,
    user: str | None,
    permission: Permission,
    repository: RepositoryName | None,
) -> tuple[bool, int | None]:
    """The meaning of rules, said anew: a rule after the other."""
    if user == "root":
        return True, None
    for number, rule in enumerate(rules, 1):
        about = (
            rule.repository == "**"
            if repository is None
            else rule.actions != {C} and matches(rule.repository.split("/"), repository.split("/"))
        )
        if about and names(rule, user):
            return permission in rule.actions, number
    if user is None:
        return False, None
    return (not rules if default is None else permission in default), None


@given(SET, QUESTION)
def test_what_one_rule_after_the_other_says(
    given_rules: tuple[list[Rule], frozenset[Permission] | None],
    question: tuple[str | None, tuple[Permission, RepositoryName | None]],
) -> None:
    """The answer is that of looking at each rule in its turn, and the explanation names the rule that it ends at."""
    rules, default = given_rules
    user, (permission, repository) = question
    expected = decided(rules, default, user, permission, repository)
    decision = ruled(rules, default).explain(user, permission, repository)
    assert (decision.allowed, decision.rule) == expected


@given(SET, st.lists(QUESTION, max_size=30))
def test_what_was_asked_before_changes_nothing(
    given_rules: tuple[list[Rule], frozenset[Permission] | None],
    questions: list[tuple[str | None, tuple[Permission, RepositoryName | None]]],
) -> None:
    """Rules that have answered before answer as new ones do, and an authority as the explanation does."""
    rules, default = given_rules
    asked = ruled(rules, default)
    for user, (permission, repository) in questions * 2:
        new = ruled(rules, default)
        authority = asked.anonymous if user is None else asked.of(user)
        fresh = new.anonymous if user is None else new.of(user)
        allowed = authority.allows(permission, repository)
        assert allowed is fresh.allows(permission, repository)
        assert asked.explain(user, permission, repository) == new.explain(user, permission, repository)
        assert asked.explain(user, permission, repository).allowed is allowed


def test_more_repositories_than_are_remembered() -> None:
    """However many repositories are asked for, each is answered by its own rule, the first of them asked again too."""
    asked = ruled([Rule(frozenset({P}), "even/**", ("ann",)), Rule(frozenset({U}), "**", ("ann",))]).of("ann")
    for number in [*range(10_000), *range(10_000)]:
        even = number % 2 == 0
        repository = RepositoryName(f"{'even' if even else 'odd'}/r{number}")
        assert (asked.allows(P, repository), asked.allows(U, repository)) == (even, not even)


def test_more_rules_than_a_machine_word_has_bits() -> None:
    """The thousandth rule decides as the first does."""
    rules = ruled([Rule(frozenset({P}), f"r{number}", ("ann",)) for number in range(1000)])
    for number in (0, 62, 63, 64, 127, 128, 999):
        decision = rules.explain("ann", P, RepositoryName(f"r{number}"))
        assert (decision.allowed, decision.rule) == (True, number + 1)
    assert not rules.of("ann").allows(P, RepositoryName("r1000"))


@pytest.mark.parametrize("user", [None, "ann", "root"])
def test_what_is_never_allowed(user: str | None) -> None:
    """Nothing but the catalog is of the registry as a whole, and the catalog of no repository; no rule lets in."""
    everything = frozenset(Permission)
    rules = ruled([Rule(everything, "**", ("*", "anonymous"))], everything)
    authority = rules.anonymous if user is None else rules.of(user)
    for permission in (P, U, D, Permission.ENTER):
        assert not authority.allows(permission, None)
        with pytest.raises(ValueError, match="the catalog is of no repository"):
            rules.explain(user, permission, None)
    assert not authority.allows(C, RepositoryName("a"))
    with pytest.raises(ValueError, match="the catalog is of no repository"):
        rules.explain(user, C, RepositoryName("a"))


def test_who_may_see_what() -> None:
    """A request's identity asks the rules: in lists it sees what its user may pull."""
    rules = ruled([Rule(frozenset({P}), "a/**", ("anonymous",)), Rule(frozenset({U}), "b", ("ann",))])
    nobody, ann = Identity(Kind.NOBODY, "", rules.anonymous), Identity(Kind.PASSWORD, "ann", rules.of("ann"))
    assert ann.may(U, RepositoryName("b"))
    seen, seen_by_ann = nobody.view(), ann.view()
    assert seen is not None
    assert seen_by_ann is not None
    assert [repository for repository in REPOSITORIES if seen(repository)] == ["a", "a/b", "a/a/b", "a/b/a"]
    assert not any(map(seen_by_ann, REPOSITORIES))


def test_equal_authorities() -> None:
    """Users of whom the same rules speak have equal authorities, and nobody else has; nor do other rules give one."""
    written = [Rule(frozenset({P}), "a", groups=("some",)), Rule(frozenset({P}), "b", ("ann",))]
    rules = ruled(written)
    assert rules.of("bob") == rules.of("cid")
    assert hash(rules.of("bob")) == hash(rules.of("cid"))
    assert len({rules.anonymous, rules.of("root"), rules.of("ann"), rules.of("bob")}) == 4
    assert rules.of("bob") != ruled(written).of("bob")


@pytest.mark.parametrize(
    ("user", "permission", "repository", "reason"),
    [
        ("ann", P, "a", "rule 1 is the first that matches, and it allows pull, push"),
        ("ann", D, "b", "rule 2 is the first that matches, and it allows nothing"),
        (None, P, "b", "no rule matches, and without a login nothing else is allowed"),
        ("bob", P, "b", "no rule matches, and where there are rules and no default nothing else is allowed"),
        ("root", D, "b", "administrators may do everything"),
    ],
)
def test_reasons(user: str | None, permission: Permission, repository: str, reason: str) -> None:
    """An explanation says what decided and what that allows, the actions always in the same order."""
    rules = ruled([Rule(frozenset({U, P}), "a", ("ann",)), Rule(frozenset(), "**", ("ann",))])
    assert rules.explain(user, permission, RepositoryName(repository)).reason == reason


@pytest.mark.parametrize(
    ("rules", "default", "reason"),
    [
        ([], None, "there are no rules and no default: whoever is signed in may do everything"),
        ([], frozenset({P}), "no rule matches, and the default allows pull"),
        (
            [Rule(frozenset({P}), "b", ("*",))],
            frozenset[Permission](),
            "no rule matches, and the default allows nothing",
        ),
    ],
)
def test_reasons_where_no_rule_decides(
    rules: list[Rule], default: frozenset[Permission] | None, reason: str
) -> None:
    """Where no rule decides, the explanation says what does."""
    assert ruled(rules, default).explain("ann", P, RepositoryName("a")).reason == reason


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (Rule(frozenset(), "a//b", ("ann",)), "rule 2: 'a//b' is no pattern of repositories"),
        (Rule(frozenset(), "**", groups=("some", "teem")), "rule 2: there is no group 'teem'"),
    ],
)
def test_rules_that_mean_nothing(rule: Rule, message: str) -> None:
    """A pattern that is none, and a group that does not exist, are refused with the number of their rule."""
    with pytest.raises(ValueError, match=message):
        ruled([Rule(frozenset(), "**", ("ann",)), rule])


@pytest.mark.parametrize("word", ["*", "anonymous"])
def test_words_that_are_nobody(word: str) -> None:
    """Nobody can make everyone an administrator, or a member of a group, by a word of the rules."""
    with pytest.raises(ValueError, match=r"the administrators: '(\*|anonymous)' is no user's name"):
        Rules([], groups={}, administrators=["ann", word], default=None)
    with pytest.raises(ValueError, match=r"group devs: '(\*|anonymous)' is no user's name"):
        Rules([], groups={"devs": [word]}, administrators=[], default=None)


def test_users_who_are_called_by_words_of_the_rules() -> None:
    """Who signs in as `anonymous` or `*` is held to the rules for everyone, and gets nothing by the name."""
    rules = ruled([Rule(frozenset({P}), "a", ("anonymous",)), Rule(frozenset({U}), "b", ("*",))])
    for name in ("anonymous", "*"):
        assert not rules.of(name).allows(P, RepositoryName("a"))
        assert rules.of(name).allows(U, RepositoryName("b"))
    assert rules.anonymous.allows(P, RepositoryName("a"))
    assert not rules.anonymous.allows(U, RepositoryName("b"))


@pytest.mark.parametrize(
    ("rules", "something"),
    [
        ([], False),
        ([Rule(frozenset({P}), "a", ("ann", "*"), ("all",))], False),
        ([Rule(frozenset({P}), "**", ("ann",)), Rule(frozenset(), "a", ("anonymous",))], False),
        ([Rule(frozenset({C}), "**", ("anonymous",))], True),
        ([Rule(frozenset(), "a", ("anonymous",)), Rule(frozenset({P}), "a/*", ("ann", "anonymous"))], True),
    ],
)
def test_whether_anybody_may_something_without_a_login(rules: list[Rule], something: bool) -> None:
    """Only a rule can allow who is not signed in anything: it names anonymous, and has actions."""
    assert ruled(rules, frozenset({P})).anonymous_may_something is something
