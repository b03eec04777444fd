"""Which tags are kept, by rules for repositories; the others are removed.

For a repository the first rule decides whose pattern it matches; where none does, all is kept. A tag is kept if any of
the rule's criteria keeps it. What no tag leads to any more is for the collector.

A tag such as `sha256-<hex>.sig` belongs to the manifest of that digest, and is kept as long as that: so are signatures
found by clients that know no referrers, and the tags of the referrers' fallback.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from cargohold.registry.gc import unneeded
from cargohold.storage.keeping import Recording, TagState
from cargohold.storage.protocols import Changed, NotFound, StoreError
from cargohold.types.mentions import pack, unpack
from cargohold.types.names import RepositoryName, Tag
from cargohold.types.patterns import compile_patterns
from cargohold.types.tag_patterns import compile_tag_patterns

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from cargohold.storage.collecting import Held
    from cargohold.storage.keeping import Keeper

    Keeps = Callable[[int, TagState], bool]

Criterion = Literal["newest", "tags", "pushed_within", "pulled_within"]

_LONGEST_PAUSE: Final = 3600.0
_PAUSES: Final = 10
_HALF: Final = 32
"""Bytes of a digest that the name of a tag has for sure: a whole SHA-512 is longer than a tag may be."""

_NAMING: Final = re.compile(r"sha(?:256-([0-9a-f]{64})|512-([0-9a-f]{64})[0-9a-f]*)(?:\..*)?")


class Rule(msgspec.Struct, frozen=True):
    """What keeps a tag in the repositories that match: being among the `newest`, a pattern of `tags`, a time.

    Times are in seconds. `untagged`: manifests without a tag are collected there.
    """

    repository: str
    newest: int | None = None
    tags: tuple[str, ...] = ()
    pushed_within: float | None = None
    pulled_within: float | None = None
    untagged: bool = True


class Decision(msgspec.Struct, frozen=True):
    """What becomes of a tag, by which rule (its place among the rules, from 0 on), and which criteria keep it.

    One that nothing keeps may be `kept` all the same: it was pushed or pulled before it could be removed. Of one that
    `follows` a manifest of the repository the rules say nothing.
    """

    repository: RepositoryName
    state: TagState
    rule: int
    by: tuple[Criterion, ...]
    kept: bool
    follows: bool = False


class Rules:
    """Rules in their order. Raises ValueError where a pattern is none."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = tuple(rules)
        self._matching = compile_patterns(rule.repository for rule in rules)
        self._named = tuple(compile_tag_patterns(rule.tags) for rule in rules)
        self._pauses = {
            rule.repository: pause_of(rule.pulled_within) for rule in rules if rule.pulled_within is not None
        }

    def __bool__(self) -> bool:
        return bool(self._rules)

    def deciding(self, repository: RepositoryName) -> int | None:
        """The place of the rule that decides for a repository."""
        found = self._matching(repository)
        return (found & -found).bit_length() - 1 if found else None

    def collects_untagged(self, repository: RepositoryName) -> bool:
        """Whether manifests are collected in the repository that no tag leads to."""
        place = self.deciding(repository)
        return place is not None and self._rules[place].untagged

    @property
    def recorded(self) -> Collection[str]:
        """The patterns of the repositories in which it must be known when manifests are pulled."""
        return self._pauses.keys()

    def pause(self, repository: RepositoryName) -> float | None:
        """For how many seconds a pull there need not be noted once more; None where none need be noted.

        It is any rule that asks for it, and not the one that decides: so that what is known of a pattern is known of
        all repositories that match it, whatever rules there were before.
        """
        found = self._matching(repository)
        pauses = (
            self._pauses.get(rule.repository) for place, rule in enumerate(self._rules) if found >> place & 1
        )
        return min((pause for pause in pauses if pause is not None), default=None)

    def plan(
        self, repository: RepositoryName, states: Sequence[TagState], recording: Recording, now: float
    ) -> list[Decision]:
        """What becomes of the tags of a repository, the newest first; none where no rule decides.

        Those that name a manifest are as others here, but are not counted among them; see `followed`.
        """
        place = self.deciding(repository)
        if place is None:
            return []
        criteria = self._criteria(place, recording, now)
        decisions = []
        newer = {False: 0, True: 0}
        for state in sorted(states, key=lambda state: (state.pushed, state.tag), reverse=True):
            is_naming = _named(state) is not None
            rank = newer[is_naming]
            newer[is_naming] += 1
            by = tuple(criterion for criterion, keeps in criteria if keeps(rank, state))
            decisions.append(Decision(repository, state, place, by, kept=bool(by)))
        return decisions

    def _criteria(self, place: int, recording: Recording, now: float) -> list[tuple[Criterion, Keeps]]:
        """Those of a rule, each of which is asked with how many tags are newer."""
        rule, named = self._rules[place], self._named[place]
        newest, pushed, pulled = rule.newest, rule.pushed_within, rule.pulled_within
        criteria: list[tuple[Criterion, Keeps]] = []
        if newest is not None:
            criteria.append(("newest", lambda rank, _: rank < newest))
        if rule.tags:
            criteria.append(("tags", lambda _, state: named(state.tag) is not None))
        if pushed is not None:
            criteria.append(("pushed_within", lambda _, state: state.pushed >= now - pushed))
        if pulled is not None:
            horizon = recording.horizon(rule.repository, pulled + pause_of(pulled), now)
            criteria.append(
                ("pulled_within", lambda _, state: max(state.pushed, state.pulled or 0.0) >= horizon)
            )
        return criteria


def pause_of(pulled_within: float) -> float:
    """By how many seconds a noted pull may be older than the last one."""
    return min(_LONGEST_PAUSE, pulled_within / _PAUSES)


def followed(decisions: Sequence[Decision], held: Held, *, before: float, untagged: bool) -> list[Decision]:
    """As decided, but tags that name a manifest of the repository are kept as long as it is. Pure.

    A manifest stays that `registry.gc.unneeded` spares once the tags are gone, with the same `before` and `untagged`.
    What is in the trash, or was, is gone; a tag that names what was never there is one like others.
    """
    known = {_half(digest): digest for digest in (*held.gone, *held.trashed, *held.manifests)}
    targets = {
        decision.state.tag: known[named]
        for decision in decisions
        if (named := _named(decision.state)) is not None and named in known
    }
    following: dict[bytes, list[bytes]] = {}
    tagged = held.tagged.difference(pack(decision.state.digest) for decision in decisions)
    for decision in decisions:
        digest, target = pack(decision.state.digest), targets.get(decision.state.tag)
        if target is None:
            tagged |= {digest} if decision.kept else set()
        elif target in held.manifests:
            following.setdefault(target, []).append(digest)
    manifests = dict(held.manifests)
    for target, digests in following.items():
        mentions = (*manifests[target].mentions, *digests)
        manifests[target] = msgspec.structs.replace(manifests[target], mentions=mentions)
    left = msgspec.structs.replace(held, manifests=manifests, tagged=tagged)
    staying = manifests.keys() - unneeded(left, before=before, untagged=untagged).keys()
    return [
        msgspec.structs.replace(decision, by=(), kept=targets[decision.state.tag] in staying, follows=True)
        if decision.state.tag in targets
        else decision
        for decision in decisions
    ]


def _named(state: TagState) -> tuple[int, bytes] | None:
    """Which manifest a tag names, as `_half` does; None where it names none, or the one that it points to."""
    found = _NAMING.fullmatch(state.tag)
    if found is None:
        return None
    length = 32 if found[1] else 64
    named = length, bytes.fromhex(found[1] or found[2])
    return None if named == _half(pack(state.digest)) else named


def _half(digest: bytes) -> tuple[int, bytes]:
    """The length of a packed digest, which tells the algorithm, and its beginning."""
    return len(digest), digest[:_HALF]


def apply(  # noqa: PLR0913 - what it is done to, by what, and when
    keeper: Keeper,
    rules: Rules,
    *,
    now: float,
    age: float,
    failed: Callable[[RepositoryName, StoreError], None],
    is_dry: bool = False,
    chosen: Callable[[RepositoryName], object] = lambda _: True,
) -> Iterator[Decision]:
    """What becomes of each tag that a rule decides on, in the `chosen` repositories; unless it `is_dry`, it is done.

    A manifest goes with its last tag, if its rule says so, nothing else needs it, and nobody has leased it for `age`
    seconds; if it does not go now, it is for the collector. The first time that a repository is looked at its record of
    pulls begins, if there is to be one: before that everything counts as pulled. `failed` is called with each
    repository in which not all could be done. Raises StoreError where nothing can.
    """
    for repository in keeper.repositories():
        if chosen(repository) and rules.deciding(repository) is not None:
            try:
                yield from apply_to(keeper, rules, repository, now=now, age=age, is_dry=is_dry)
            except StoreError as error:
                failed(repository, error)


def apply_to(  # noqa: PLR0913 - as above
    keeper: Keeper, rules: Rules, repository: RepositoryName, *, now: float, age: float, is_dry: bool
) -> list[Decision]:
    """As `apply`, in one repository. Raises StoreError; what was removed until then is."""
    is_recorded = rules.pause(repository) is not None
    if is_recorded and not is_dry:
        keeper.begin_record(repository)
    recording = keeper.recording(repository) if is_recorded else Recording()
    decisions = rules.plan(repository, keeper.tag_states(repository), recording, now)
    untagged, is_undisturbed = rules.collects_untagged(repository), True
    names_any = any(_named(decision.state) is not None for decision in decisions)
    if not names_any and (is_dry or all(decision.kept for decision in decisions)):
        return decisions
    if untagged or names_any:
        held = keeper.manifests(repository)
        # What is pushed from now on changes the repository's state; what was before is seen.
        decisions = rules.plan(repository, keeper.tag_states(repository), recording, now)
        decisions = followed(decisions, held, before=now - age, untagged=untagged)
        if is_dry or all(decision.kept for decision in decisions):
            return decisions
        if untagged:
            is_undisturbed = _remove_manifests(keeper, repository, held, decisions, now=now, age=age)
    done = _remove_tags(keeper, repository, decisions, is_undisturbed=is_undisturbed)
    keeper.forget_pulls(repository)
    return done


def _remove_manifests(  # noqa: PLR0913 - as above
    keeper: Keeper,
    repository: RepositoryName,
    held: Held,
    decisions: Sequence[Decision],
    *,
    now: float,
    age: float,
) -> bool:
    """Those that lose all their tags and that nothing needs, as long as nobody stores, tags or leases anything.

    Returns whether nobody did. What follows another goes after it.
    """
    kept = {pack(decision.state.digest) for decision in decisions if decision.kept}
    lost = {pack(decision.state.digest) for decision in decisions} - kept
    following = {pack(decision.state.digest) for decision in decisions if decision.follows}
    left = msgspec.structs.replace(held, tagged=held.tagged - lost)
    for packed in sorted(unneeded(left, before=now - age, untagged=True), key=following.__contains__):
        if packed in lost:
            try:
                keeper.remove_manifest(repository, unpack(packed), state=held.state, age=age)
            except NotFound:
                continue
            except Changed:
                return False
    return True


def _remove_tags(
    keeper: Keeper, repository: RepositoryName, decisions: Sequence[Decision], *, is_undisturbed: bool
) -> list[Decision]:
    """Those that are not kept; what follows a manifest stays where anything else stays that was to go."""
    stay = set[Tag]()
    for decision in sorted(decisions, key=lambda each: each.follows):
        is_spared = decision.follows and not is_undisturbed
        if decision.kept or is_spared or not keeper.remove_tag(repository, decision.state):
            stay.add(decision.state.tag)
            is_undisturbed = is_undisturbed and decision.kept
    return [msgspec.structs.replace(decision, kept=decision.state.tag in stay) for decision in decisions]
