"""What the findings of a check mean to those who pull and push, and what repair does about them. Pure."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec

from cargohold.storage.filesystem.checking.findings import REPAIRED, Finding, Kind, Outcome, Remedy


class Severity(StrEnum):
    """How bad it is.

    LOST: bytes are gone that clients were told are stored. DAMAGED: something does not work that could. HARMLESS: no
    client notices.
    """

    LOST = "lost"
    DAMAGED = "damaged"
    HARMLESS = "harmless"


class Meaning(NamedTuple):
    """How bad a kind of finding is at its worst, and in a few words what it is, as said of the thing at fault."""

    severity: Severity
    words: str


MEANINGS: Final = {
    Kind.WRONG_CONTENT: Meaning(Severity.LOST, "its bytes are not those of its digest"),
    Kind.EMPTY_CONTENT: Meaning(Severity.LOST, "its file is empty"),
    Kind.NO_CONTENT: Meaning(Severity.HARMLESS, "a folder of content without content"),
    Kind.UNREADABLE: Meaning(Severity.DAMAGED, "cannot be read"),
    Kind.LOST_MANIFEST: Meaning(Severity.LOST, "the content of the manifest is missing"),
    Kind.ODD_MANIFEST: Meaning(Severity.HARMLESS, "is as it was pushed, but no manifest of a known form"),
    Kind.MISSING_BLOB: Meaning(Severity.LOST, "the manifest names a blob whose content is missing"),
    Kind.DAMAGED_BLOB: Meaning(Severity.LOST, "the manifest names a blob whose bytes are wrong"),
    Kind.MISSING_MANIFEST: Meaning(
        Severity.DAMAGED, "the index names a manifest that is not in the repository"
    ),
    Kind.UNLINKED_BLOB: Meaning(Severity.DAMAGED, "the manifest names a blob that is stored, but not linked"),
    Kind.SPARSE: Meaning(Severity.HARMLESS, "is not here, as manifests.allow_sparse allows"),
    Kind.WRONG_SIZE: Meaning(Severity.DAMAGED, "is not as long as the manifest says"),
    Kind.UNLISTED_REFERRER: Meaning(Severity.DAMAGED, "is not among the referrers of its subject"),
    Kind.BAD_LINK: Meaning(Severity.DAMAGED, "the link does not hold the digest that it must"),
    Kind.DANGLING_LINK: Meaning(Severity.HARMLESS, "a blob's link that leads to no content"),
    Kind.DANGLING_TAG: Meaning(Severity.LOST, "the tag points to a manifest that is not there"),
    Kind.HALF_TAG: Meaning(Severity.HARMLESS, "a tag that was half made or half removed"),
    Kind.UNINDEXED_TAG: Meaning(Severity.HARMLESS, "what the tag points to is not in its history"),
    Kind.OLD_TAG_LINK: Meaning(Severity.HARMLESS, "the history of the tag leads to a manifest that is gone"),
    Kind.HALF_UPLOAD: Meaning(Severity.HARMLESS, "an upload session that was half made or half ended"),
    Kind.LEFTOVER: Meaning(Severity.HARMLESS, "is left over from what was being made, replaced or removed"),
    Kind.MISSING_MARK: Meaning(Severity.HARMLESS, "the repository is not marked for the catalog"),
    Kind.EMPTY_MARK: Meaning(Severity.HARMLESS, "a mark of the catalog for a repository without manifests"),
    Kind.WRONG_TOTALS: Meaning(Severity.HARMLESS, "the totals for the metrics are off"),
}

_SAVES: Final = frozenset({Remedy.RESTORE, Remedy.WRITE})
_SAVED: Final = frozenset({Outcome.RESTORED, Outcome.WRITTEN})

_WOULD: Final = {
    Remedy.RESTORE: "repair brings back a copy",
    Remedy.WRITE: "repair writes it",
    Remedy.QUARANTINE: "repair moves it to the quarantine",
    Remedy.REMOVE: "repair removes it",
    Remedy.RECOUNT: "repair counts anew",
}
_DID: Final = {
    Outcome.RESTORED: "a copy was brought back",
    Outcome.WRITTEN: "written",
    Outcome.QUARANTINED: "moved to the quarantine",
    Outcome.REMOVED: "removed",
    Outcome.RECOUNTED: "counted anew",
    Outcome.ALIASED: "left alone, since symbolic links give its repository two names: mend it by hand",
    Outcome.YOUNG: "left alone, since it is too new: look again later",
    Outcome.FAILED: "could not be repaired",
}
_BY_HAND: Final = {
    Kind.UNREADABLE: "look after the disk and the permissions",
    Kind.MISSING_BLOB: "push the image again",
    Kind.DAMAGED_BLOB: "repair, and then push the image again",
    Kind.MISSING_MANIFEST: "push it again, or delete the index",
    Kind.WRONG_SIZE: "build and push the image again",
}
"""What helps where repair does not. What is not named here needs no help."""


def severity_of(finding: Finding) -> Severity:
    """How bad it is: what repair brings back by itself is not lost."""
    severity = MEANINGS[finding.kind].severity
    is_there = finding.remedy in _SAVES or finding.outcome in _SAVED
    return Severity.DAMAGED if is_there and severity is Severity.LOST else severity


def remedy_of(finding: Finding) -> str:
    """What became of it, what repair would do, or what somebody else must do; empty where there is nothing to do."""
    return _DID.get(finding.outcome) or _WOULD.get(finding.remedy) or _BY_HAND.get(finding.kind, "")


def is_harmless(finding: Finding) -> bool:
    """Whether no client notices."""
    return severity_of(finding) is Severity.HARMLESS


def line_of(finding: Finding) -> str:
    """For people: how bad it is, where it is, what is wrong, and what is or can be done about it."""
    meaning, advice = MEANINGS[finding.kind], remedy_of(finding)
    where = finding.repository
    if finding.tag:
        where += f":{finding.tag}"
    if finding.manifest:
        where += f"@{finding.manifest}"
    about = " ".join(filter(None, (where, finding.digest or finding.path)))
    note = f" ({finding.note})" if finding.note else ""
    return f"{severity_of(finding):8} {about}: {meaning.words}{note}{f'; {advice}' if advice else ''}"


def record_of(finding: Finding) -> dict[str, object]:
    """For programs: the finding with how bad it is, and the words of `line_of`."""
    meaning = MEANINGS[finding.kind]
    return {
        "severity": severity_of(finding).value,
        "means": meaning.words,
        "advice": remedy_of(finding),
        **msgspec.to_builtins(finding, enc_hook=str),
    }


class Tally:
    """Counts findings, by their severity, kind and outcome."""

    def __init__(self) -> None:
        self.severities: Counter[str] = Counter({severity.value: 0 for severity in Severity})
        self.kinds: Counter[str] = Counter()
        self.repaired = self.quarantined = 0

    def add(self, finding: Finding) -> None:
        """Count one more."""
        self.severities[severity_of(finding).value] += 1
        self.kinds[finding.kind.value] += 1
        self.repaired += finding.outcome in REPAIRED
        self.quarantined += finding.outcome is Outcome.QUARANTINED

    @property
    def is_well(self) -> bool:
        """Whether nothing was found that is lost or damaged."""
        return not (self.severities[Severity.LOST] or self.severities[Severity.DAMAGED])
