"""Which manifests nobody needs, found without a store."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from cargohold.registry.gc import awaited, kin, unneeded
from cargohold.storage.collecting import Held, Known
from cargohold.storage.trash import Why

NAMES = [bytes([number]) * 32 for number in range(8)]
A, B, C, D, E, F, G, H = NAMES
OLD, NOW = 100.0, 1_000.0


def known(*mentions: bytes, subject: bytes | None = None, leased: float = OLD) -> Known:
    return Known(leased, 10, mentions, subject)


def held(
    manifests: dict[bytes, Known],
    *,
    tagged: tuple[bytes, ...] = (),
    trashed: dict[bytes, Known] | None = None,
    gone: tuple[bytes, ...] = (),
) -> Held:
    return Held(manifests, {*tagged}, trashed or {}, {*gone}, 1)


def test_untagged_manifests_stay_by_default() -> None:
    """Whatever refers to them or not."""
    assert unneeded(held({A: known(), B: known(A)}, tagged=(C,)), before=NOW, untagged=False) == {}


def test_what_a_tag_reaches_stays() -> None:
    """Through indexes of indexes, through subjects, and to the referrers of whatever is reached."""
    found = held(
        {
            A: known(B, leased=OLD),
            B: known(C),
            C: known(),
            D: known(subject=C),
            E: known(subject=D),
            F: known(G, subject=B),
            G: known(),
            H: known(),
        },
        tagged=(A,),
    )
    assert unneeded(found, before=NOW, untagged=True) == {H: Why.UNTAGGED}


def test_a_tagged_referrer_keeps_its_subject() -> None:
    """A signature that has a tag, as cosign makes them, keeps what it signs."""
    found = held({A: known(subject=B), B: known(C), C: known(), D: known()}, tagged=(A,))
    # A manifest mentions its subject.
    found.manifests[A] = known(B, subject=B)
    assert unneeded(found, before=NOW, untagged=True) == {D: Why.UNTAGGED}


def test_what_is_leased_or_can_be_restored_stays() -> None:
    """With all that it refers to."""
    found = held(
        {A: known(B, leased=NOW), B: known(), D: known(subject=C), E: known(), F: known()},
        trashed={C: known(F)},
    )
    assert unneeded(found, before=NOW, untagged=True) == {E: Why.UNTAGGED}


def test_referrers_of_what_was_deleted_go() -> None:
    """And what refers to them; not where another needs them, nor those of what is there again, or never was."""
    found = held(
        {
            B: known(subject=A),
            C: known(subject=B),
            D: known(subject=A),
            E: known(D),
            F: known(subject=E),
            G: known(subject=H),
        },
        tagged=(),
        gone=(A, E),
    )
    assert unneeded(found, before=NOW, untagged=False) == {B: Why.SUBJECT_DELETED, C: Why.SUBJECT_DELETED}


def test_what_was_deleted_and_stored_again_keeps_its_referrers() -> None:
    """A record of its deletion that is over says nothing of what is there now."""
    found = held({A: known(), B: known(subject=A)}, gone=(A,))
    assert unneeded(found, before=NOW, untagged=False) == {}


def test_what_was_deleted_is_known_until_its_referrers_are_gone() -> None:
    """A referrer that is spared for its lease goes later; one that has a tag, or whose subject is there, stays."""
    found = held(
        {
            B: known(subject=A, leased=NOW),
            C: known(subject=B),
            E: known(subject=D),
            G: known(subject=F),
            H: known(B, subject=F),
        },
        tagged=(G,),
        gone=(A, D, F),
    )
    for untagged in (False, True):
        doomed = unneeded(found, before=NOW, untagged=untagged)
        assert doomed.keys() == {E, H}
        assert awaited(found, doomed, untagged=untagged) == {A}
    assert awaited(found, unneeded(found, before=NOW + 1, untagged=False), untagged=False) == set()


SOME = st.lists(st.sampled_from(NAMES), max_size=3)
MANIFESTS = st.dictionaries(
    st.sampled_from(NAMES),
    st.builds(
        Known,
        leased=st.sampled_from([OLD, NOW]),
        size=st.just(10),
        mentions=SOME.map(tuple),
        subject=st.none() | st.sampled_from(NAMES),
    ),
)


@given(MANIFESTS, SOME, MANIFESTS, SOME, st.booleans())
def test_nothing_that_stays_needs_what_goes(
    manifests: dict[bytes, Known],
    tagged: list[bytes],
    trashed: dict[bytes, Known],
    gone: list[bytes],
    untagged: bool,
) -> None:
    """Whatever refers to what: no tag, lease or record leads to what goes, and nothing that stays does."""
    found = held(manifests, tagged=tuple(tagged), trashed=trashed, gone=tuple(gone))
    doomed = unneeded(found, before=NOW, untagged=untagged)
    stay = manifests.keys() - doomed
    assert not doomed.keys() & {*tagged, *trashed}
    for each in (*(manifests[digest] for digest in stay), *trashed.values()):
        assert not doomed.keys() & {*each.mentions}
    for digest, each in manifests.items():
        if digest in doomed:
            assert each.leased < NOW
            assert each.subject not in stay


def test_kin() -> None:
    """What goes is kin by what it mentions and by its subject, also one that is not there; never by what stays."""
    found = held(
        {A: known(B, D), B: known(), C: known(subject=B), E: known(subject=F), D: known(), G: known()}
    )
    families = kin(found, [A, B, C, E, G])
    assert [families[each] for each in (A, B, C, E, G)] == [{A, B, C}] * 3 + [{E, F}, {G}]


@settings(max_examples=500)
@given(MANIFESTS, SOME, MANIFESTS, SOME, MANIFESTS, SOME, st.booleans())
def test_what_comes_to_be_needed_has_kin_that_was_leased(  # noqa: PLR0913, PLR0917 - all that there may be
    manifests: dict[bytes, Known],
    tagged: list[bytes],
    trashed: dict[bytes, Known],
    gone: list[bytes],
    pushed: dict[bytes, Known],
    asked: list[bytes],
    untagged: bool,
) -> None:
    """Whatever is pushed, tagged or asked for leases itself, what it mentions and its subject; so it is noticed."""
    found = held(manifests, tagged=tuple(tagged), trashed=trashed, gone=tuple(gone))
    doomed = unneeded(found, before=NOW, untagged=untagged)
    families = kin(found, doomed)
    new = {digest: each for digest, each in pushed.items() if digest not in manifests}
    leased = {*asked, *new}
    for each in new.values():
        leased |= {*each.mentions} | ({each.subject} if each.subject is not None else set())
    later = {
        digest: msgspec.structs.replace(each, leased=NOW) if digest in leased else each
        for digest, each in (manifests | new).items()
    }
    after = held(later, tagged=(*tagged, *asked, *new), trashed=trashed, gone=tuple(gone))
    for digest in doomed.keys() - unneeded(after, before=NOW, untagged=untagged).keys():
        assert families[digest] & leased
