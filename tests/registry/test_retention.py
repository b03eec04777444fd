"""Which tags rules keep."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cargohold.registry.retention import Decision, Rule, Rules, followed
from cargohold.storage.collecting import Held, Known
from cargohold.storage.keeping import Recording, TagState
from cargohold.types.digest import Algorithm, Digest
from cargohold.types.mentions import pack
from cargohold.types.names import RepositoryName, Tag

NOW = 1_000_000.0
DAY = 86_400.0
REPOSITORY = RepositoryName("ci/app")
ALWAYS = Recording({"ci/**": 0.0}, (), NOW)


def state(tag: str, pushed_ago: float = 0.0, pulled_ago: float | None = None) -> TagState:
    pulled = None if pulled_ago is None else NOW - pulled_ago
    return TagState(Tag(tag), Digest.of(tag.encode()), NOW - pushed_ago, pulled)


def planned(rule: Rule, *states: TagState, recording: Recording = ALWAYS) -> dict[str, tuple[str, ...]]:
    """The criteria that keep each tag, in the order of the plan."""
    decisions = Rules([rule]).plan(REPOSITORY, states, recording, NOW)
    assert all(decision.kept == bool(decision.by) for decision in decisions)
    return {decision.state.tag: decision.by for decision in decisions}


def test_the_newest() -> None:
    """`newest` keeps so many tags, by the time of their push; of those pushed at once, the first of the alphabet go."""
    rule = Rule("ci/**", newest=2)
    assert planned(rule, state("a", 3), state("b", 1), state("c", 2)) == {
        "b": ("newest",),
        "c": ("newest",),
        "a": (),
    }
    assert planned(rule, state("a", 1), state("b", 1), state("c", 1))["a"] == ()
    assert planned(rule, state("a")) == {"a": ("newest",)}
    assert planned(rule) == {}


def test_patterns_of_tags() -> None:
    """`tags` keeps what one of the patterns matches, however old."""
    found = planned(
        Rule("ci/**", tags=("v*", "latest")), state("v1", 9e5), state("latest", 9e5), state("edge")
    )
    assert found == {"edge": (), "latest": ("tags",), "v1": ("tags",)}


def test_pushed_within() -> None:
    """`pushed_within` keeps what was pushed within so many seconds, and what was pushed in the future."""
    found = planned(
        Rule("ci/**", pushed_within=DAY), state("a", DAY), state("b", DAY + 1), state("c", -DAY), state("d")
    )
    assert found == {"c": ("pushed_within",), "d": ("pushed_within",), "a": ("pushed_within",), "b": ()}


def test_pulled_within() -> None:
    """`pulled_within` keeps what was pulled within so many seconds, or pushed; a pull may be noted late by a pause."""
    rule = Rule("ci/**", pulled_within=DAY)
    found = planned(
        rule,
        state("pulled", 9 * DAY, DAY),
        state("noted-late", 9 * DAY, DAY + 3600),
        state("old", 9 * DAY, DAY + 3601),
        state("never", 9 * DAY),
        state("pushed", DAY),
    )
    assert {tag for tag, by in found.items() if not by} == {"never", "old"}
    short = Rule("ci/**", pulled_within=100)
    assert planned(short, state("a", 200, 110), state("b", 200, 111)) == {"a": ("pulled_within",), "b": ()}


def test_what_was_not_recorded_counts_as_pulled() -> None:
    """Where pulls have not been recorded for as long as the rule looks back, `pulled_within` keeps everything."""
    rule = Rule("ci/**", pulled_within=DAY)
    for recording in (
        Recording(),
        Recording({"other/**": 0.0}, (), NOW),
        Recording({"ci/**": NOW - DAY}, (), NOW),
    ):
        assert planned(rule, state("a", 9 * DAY), recording=recording) == {"a": ("pulled_within",)}
    assert planned(rule, state("a", 9 * DAY), recording=Recording({"ci/**": NOW - DAY - 3601}, (), NOW)) == {
        "a": ()
    }


def test_all_that_keep_are_told() -> None:
    """A tag is kept if any of the criteria keeps it, and each of those that do is told."""
    rule = Rule("ci/**", newest=1, tags=("v*",), pushed_within=DAY, pulled_within=DAY)
    found = planned(rule, state("v1"), state("v0", 9 * DAY), state("x", 2 * DAY, 10), state("y", 2 * DAY + 1))
    assert found == {
        "v1": ("newest", "tags", "pushed_within", "pulled_within"),
        "x": ("pulled_within",),
        "y": (),
        "v0": ("tags",),
    }


def test_the_first_rule_decides() -> None:
    """Of several rules the first that matches decides alone; where none does, nothing is planned."""
    rules = Rules([Rule("ci/app", newest=1), Rule("ci/**", tags=("*",), untagged=False)])
    (first, second) = rules.plan(REPOSITORY, [state("a"), state("b", 1)], ALWAYS, NOW)
    assert (first.rule, first.kept, second.rule, second.kept) == (0, True, 0, False)
    (only,) = rules.plan(RepositoryName("ci/other"), [state("a", 9)], ALWAYS, NOW)
    assert (only.rule, only.kept) == (1, True)
    assert rules.plan(RepositoryName("prod/app"), [state("a", 9)], ALWAYS, NOW) == []
    names = [RepositoryName(name) for name in ("ci/app", "ci/other", "prod/app")]
    assert [rules.deciding(name) for name in names] == [0, 1, None]
    assert [rules.collects_untagged(name) for name in names] == [True, False, False]
    assert bool(rules)
    assert not Rules([])


def test_where_pulls_are_noted() -> None:
    """Pulls are noted wherever any rule asks for it, as often as the shortest time needs, and nowhere else."""
    rules = Rules(
        [
            Rule("ci/app", newest=1),
            Rule("ci/**", pulled_within=30 * DAY),
            Rule("ci/*", pulled_within=600),
            Rule("prod/**", pushed_within=5),
        ]
    )
    assert [rules.pause(RepositoryName(name)) for name in ("ci/app", "ci/a/b", "prod/app", "other")] == [
        60,
        3600,
        None,
        None,
    ]
    assert set(rules.recorded) == {"ci/**", "ci/*"}


@given(
    st.lists(st.tuples(st.integers(0, 20), st.none() | st.integers(0, 20)), max_size=12),
    st.none() | st.integers(1, 5),
    st.sampled_from([(), ("t1*",)]),
    st.none() | st.integers(1, 20),
)
def test_more_criteria_keep_more(
    times: list[tuple[int, int | None]], newest: int | None, tags: tuple[str, ...], pushed: int | None
) -> None:
    """A rule with several criteria keeps exactly what rules of one criterion each would keep."""
    states = [state(f"t{number}", ago, pulled) for number, (ago, pulled) in enumerate(times)]
    whole = planned(Rule("ci/**", newest=newest, tags=tags, pushed_within=pushed), *states)
    parts = [Rule("ci/**", newest=newest), Rule("ci/**", tags=tags), Rule("ci/**", pushed_within=pushed)]
    kept = {tag for part in parts for tag, by in planned(part, *states).items() if by}
    assert {tag for tag, by in whole.items() if by} == kept
    assert len(whole) == len(states)


NEWEST = Rule("ci/**", newest=1)


def digest(text: str) -> Digest:
    return Digest.of(text.encode(), Algorithm.SHA512 if text.startswith("long") else Algorithm.SHA256)


def naming(text: str, suffix: str = ".sig") -> str:
    return f"{digest(text).replace(':', '-')[:71]}{suffix}"


def follow(  # noqa: PLR0913 - all that a repository has
    rule: Rule,
    tags: dict[str, tuple[str, float]],
    *,
    mentions: dict[str, tuple[str, ...]] | None = None,
    trashed: tuple[str, ...] = (),
    gone: tuple[str, ...] = (),
    leased: tuple[str, ...] = (),
) -> dict[str, Decision]:
    """What becomes of tags, each with what it points to and how long ago it was pushed, in a repository of all that."""
    mentions = mentions or {}
    names = (
        {of for of, _ in tags.values()}
        | mentions.keys()
        | {one for all_ in mentions.values() for one in all_}
    )
    manifests = {
        pack(digest(name)): Known(
            NOW if name in leased else 0.0,
            1,
            tuple(pack(digest(one)) for one in mentions.get(name, ())),
            None,
        )
        for name in names
    }
    held = Held(
        manifests,
        {pack(digest(of)) for of, _ in tags.values()},
        {pack(digest(name)): Known(0.0, 1, (), None) for name in trashed},
        {pack(digest(name)) for name in gone},
        1,
    )
    states = [TagState(Tag(tag), digest(of), NOW - ago, None) for tag, (of, ago) in tags.items()]
    decisions = Rules([rule]).plan(REPOSITORY, states, ALWAYS, NOW)
    found = followed(decisions, held, before=NOW, untagged=rule.untagged)
    assert [each.state for each in found] == [each.state for each in decisions]
    return {each.state.tag: each for each in found}


def kept(decisions: dict[str, Decision]) -> set[str]:
    return {tag for tag, decision in decisions.items() if decision.kept}


@pytest.mark.parametrize("suffix", ["", ".sig", ".att", ".a.b"])
@pytest.mark.parametrize("image", ["image", "long"])
def test_a_tag_that_names_a_manifest(image: str, suffix: str) -> None:
    """It is kept as long as that manifest, whatever the rules say, goes with it, and is not counted by `newest`."""
    tags = {
        "v1": ("old", 9.0),
        "v2": (image, 8.0),
        naming("old"): ("s1", 2.0),
        naming(image, suffix): ("s2", 7.0),
    }
    for rule in (NEWEST, Rule("ci/**", tags=("v2", "sha256-*"))):
        found = follow(rule, tags)
        assert kept(found) == {"v2", naming(image, suffix)}
        assert {tag for tag, each in found.items() if each.follows} == {naming("old"), naming(image, suffix)}
    assert found[naming(image, suffix)].by == ()


def test_names_of_names() -> None:
    """What names the manifest of a tag that names another follows that one, in however long a chain."""
    chain = {naming(f"{number}"): (f"{number + 1}", 5.0) for number in range(3000)}
    assert len(kept(follow(NEWEST, {"v1": ("0", 9.0), **chain}))) == 3001
    found = follow(NEWEST, {"v1": ("0", 9.0), "v2": ("other", 1.0), **chain})
    assert kept(found) == {"v2"}


def test_names_of_what_has_no_tag() -> None:
    """A platform of a kept index keeps its signature; so does what is leased, or stays by the rule without a tag."""
    tags = {
        "v1": ("old", 9.0),
        "v2": ("index", 8.0),
        naming("platform"): ("s1", 9.0),
        naming("old"): ("s2", 9.0),
    }
    parts: dict[str, tuple[str, ...]] = {"index": ("platform",)}
    assert kept(follow(NEWEST, tags, mentions=parts)) == {"v2", naming("platform")}
    assert kept(follow(NEWEST, tags, mentions=parts, leased=("old",))) == tags.keys() - {"v1"}
    assert kept(follow(Rule("ci/**", newest=1, untagged=False), tags, mentions=parts)) == tags.keys() - {"v1"}


def test_what_a_naming_tag_leads_to_keeps_nothing() -> None:
    """An index of referrers, under a tag that names their subject, mentions that: it does not keep it for that."""
    tags = {"v1": ("old", 9.0), "v2": ("new", 8.0), naming("old", ""): ("referrers", 1.0)}
    assert kept(follow(NEWEST, tags, mentions={"referrers": ("old",)})) == {"v2"}


def test_names_of_what_is_not_there() -> None:
    """What names a deleted manifest goes. What names none that was there, or the one it points to, is as other tags."""
    tags = {"v1": ("image", 9.0), naming("deleted"): ("s1", 1.0)}
    assert kept(follow(NEWEST, tags, trashed=("deleted",))) == {"v1"}
    assert kept(follow(NEWEST, tags, gone=("deleted",))) == {"v1"}
    elsewhere = {naming("one"): ("s1", 2.0), naming("two"): ("s2", 1.0), "v1": ("image", 9.0)}
    found = follow(NEWEST, elsewhere)
    assert kept(found) == {naming("two"), "v1"}
    assert not any(each.follows for each in found.values())
    own = {naming("image", ".imgpkg"): ("image", 2.0), "v1": ("other", 1.0)}
    assert kept(follow(NEWEST, own)) == {"v1"}
    for tag in ("sha256-12", naming("image")[:-5], naming("image", "-sig"), "sha1-" + "a" * 40):
        assert kept(follow(NEWEST, {"v1": ("image", 1.0), tag: ("s", 5.0)})) == {"v1"}
