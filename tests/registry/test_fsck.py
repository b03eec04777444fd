"""What findings mean, and how they are told."""

from __future__ import annotations

import msgspec
import pytest

from cargohold.registry.fsck import (
    MEANINGS,
    Severity,
    Tally,
    is_harmless,
    line_of,
    record_of,
    remedy_of,
    severity_of,
)
from cargohold.storage.filesystem.checking.findings import Finding, Kind, Outcome, Remedy
from cargohold.types.digest import Digest

DIGEST, MANIFEST = Digest.of(b"something"), Digest.of(b"a manifest")
FOUND = Finding(
    kind=Kind.MISSING_BLOB,
    path="docker/registry/v2/blobs/x",
    remedy=Remedy.NOTHING,
    repository="team/app",
    manifest=MANIFEST,
    digest=DIGEST,
)


def found(**changes: object) -> Finding:
    return msgspec.structs.replace(FOUND, **changes)


def test_every_kind_has_a_meaning() -> None:
    """Nothing can be found of which it is not said how bad it is."""
    assert MEANINGS.keys() == set(Kind)
    assert {meaning.severity for meaning in MEANINGS.values()} == set(Severity)


@pytest.mark.parametrize("kind", [kind for kind in Kind if MEANINGS[kind].severity is not Severity.HARMLESS])
def test_whatever_is_bad_has_a_remedy(kind: Kind) -> None:
    """Repair does something about it, or it is said what somebody must do."""
    by_hand = {Kind.UNREADABLE, Kind.MISSING_BLOB, Kind.MISSING_MANIFEST, Kind.WRONG_SIZE}
    remedy = Remedy.NOTHING if kind in by_hand else Remedy.QUARANTINE
    assert remedy_of(found(kind=kind, remedy=remedy))
    assert not is_harmless(found(kind=kind))


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_is_told(outcome: Outcome) -> None:
    """What became of a finding is said, and nothing else: not what repair would do."""
    told = remedy_of(found(kind=Kind.DANGLING_TAG, remedy=Remedy.QUARANTINE, outcome=outcome))
    assert told.startswith("repair ") == (outcome in {Outcome.FOUND, Outcome.LEFT})


def test_a_line() -> None:
    """How bad it is stands first, for grep; then where it is, what it is, and what to do."""
    assert line_of(found(note="a note")) == (
        f"lost     team/app@{MANIFEST} {DIGEST}: the manifest names a blob whose content is missing (a note);"
        " push the image again"
    )
    tag = found(kind=Kind.HALF_TAG, tag="v1", manifest="", digest="", remedy=Remedy.QUARANTINE)
    assert line_of(tag) == (
        "harmless team/app:v1 docker/registry/v2/blobs/x: a tag that was half made or half removed;"
        " repair moves it to the quarantine"
    )


@pytest.mark.parametrize("kind", [Kind.DANGLING_TAG, Kind.MISSING_BLOB, Kind.LOST_MANIFEST])
def test_what_repair_brings_back_is_not_lost(kind: Kind) -> None:
    """Lost is what only a push or a backup brings back; what is there is damaged, before the repair and after it."""
    assert severity_of(found(kind=kind, remedy=Remedy.QUARANTINE)) is Severity.LOST
    for remedy, outcome in ((Remedy.WRITE, Outcome.WRITTEN), (Remedy.RESTORE, Outcome.RESTORED)):
        before = found(kind=kind, remedy=remedy)
        after = found(kind=kind, remedy=Remedy.QUARANTINE, outcome=outcome)
        for each in (before, after):
            assert severity_of(each) is Severity.DAMAGED
            assert line_of(each).startswith("damaged  ")
            assert record_of(each)["severity"] == "damaged"


def test_a_record() -> None:
    """A program finds the same, in fields of their own."""
    assert record_of(FOUND) == {
        "severity": "lost",
        "means": "the manifest names a blob whose content is missing",
        "advice": "push the image again",
        "kind": "missing-blob",
        "path": "docker/registry/v2/blobs/x",
        "remedy": "nothing",
        "repository": "team/app",
        "manifest": str(MANIFEST),
        "digest": str(DIGEST),
    }


def test_tally() -> None:
    """Findings are counted by how bad they are, and what became of them."""
    tally = Tally()
    assert tally.is_well
    tally.add(found(kind=Kind.LEFTOVER, outcome=Outcome.REMOVED))
    tally.add(found(kind=Kind.LEFTOVER, outcome=Outcome.YOUNG))
    assert tally.is_well
    tally.add(found(kind=Kind.DANGLING_TAG, outcome=Outcome.QUARANTINED))
    assert not tally.is_well
    assert tally.severities == {"lost": 1, "damaged": 0, "harmless": 2}
    assert tally.kinds == {"leftover": 2, "dangling-tag": 1}
    assert (tally.repaired, tally.quarantined) == (2, 1)
    assert severity_of(found(kind=Kind.WRONG_SIZE)) is Severity.DAMAGED
