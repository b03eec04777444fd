"""What a check can find, what can be done about it, and what was done."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cargohold.types.digest import Digest


class Kind(StrEnum):
    """What is wrong. What each means for who pulls and pushes is said in `registry.fsck`."""

    WRONG_CONTENT = "wrong-content"
    EMPTY_CONTENT = "empty-content"
    NO_CONTENT = "no-content"
    UNREADABLE = "unreadable"
    LOST_MANIFEST = "lost-manifest"
    ODD_MANIFEST = "odd-manifest"
    MISSING_BLOB = "missing-blob"
    DAMAGED_BLOB = "damaged-blob"
    MISSING_MANIFEST = "missing-manifest"
    UNLINKED_BLOB = "unlinked-blob"
    SPARSE = "sparse"
    WRONG_SIZE = "wrong-size"
    UNLISTED_REFERRER = "unlisted-referrer"
    BAD_LINK = "bad-link"
    DANGLING_LINK = "dangling-link"
    DANGLING_TAG = "dangling-tag"
    HALF_TAG = "half-tag"
    UNINDEXED_TAG = "unindexed-tag"
    OLD_TAG_LINK = "old-tag-link"
    HALF_UPLOAD = "half-upload"
    LEFTOVER = "leftover"
    MISSING_MARK = "missing-mark"
    EMPTY_MARK = "empty-mark"
    WRONG_TOTALS = "wrong-totals"


class Remedy(StrEnum):
    """What repair does about it."""

    RESTORE = "restore"
    WRITE = "write"
    QUARANTINE = "quarantine"
    REMOVE = "remove"
    RECOUNT = "recount"
    NOTHING = "nothing"


class Outcome(StrEnum):
    """What became of it."""

    FOUND = "found"
    RESTORED = "restored"
    WRITTEN = "written"
    QUARANTINED = "quarantined"
    REMOVED = "removed"
    RECOUNTED = "recounted"
    LEFT = "left"
    ALIASED = "aliased"
    YOUNG = "young"
    FAILED = "failed"


REPAIRED = frozenset(
    {Outcome.RESTORED, Outcome.WRITTEN, Outcome.QUARANTINED, Outcome.REMOVED, Outcome.RECOUNTED}
)
"""After which the next check does not find it again."""


class Finding(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One thing that is wrong.

    `path` is where it is, below the root; `digest` the content that it is about, `manifest` the one that names it;
    `tag` is the tag, or of a manifest some that point to it.
    `outcome` is FOUND where nothing was to be repaired, and ALIASED where repair leaves it, since its repository may
    have two names, and so two locks; `place` is where it is now, below the root; `note` says more.
    """

    kind: Kind
    path: str
    remedy: Remedy
    repository: str = ""
    tag: str = ""
    manifest: str = ""
    digest: str = ""
    note: str = ""
    outcome: Outcome = Outcome.FOUND
    place: str = ""


class Suspect(NamedTuple):
    """A finding to be looked at again, and what to do about it.

    `again` says whether it is still so, and is asked under the locks of `names`. `missing` is content that it would be
    well with. By the finding's remedy `files` are written, or the finding's path is taken out of the tree; `end`
    does that in another way than by its name.
    """

    finding: Finding
    names: tuple[str, ...]
    again: Callable[[], bool]
    missing: Digest | None = None
    files: Mapping[str, bytes] = {}
    end: Callable[[], None] | None = None


class Looked(msgspec.Struct):
    """How much was looked at; `verified` and `verified_bytes` are of content whose bytes were read."""

    repositories: int = 0
    manifests: int = 0
    tags: int = 0
    blobs: int = 0
    bytes: int = 0
    verified: int = 0
    verified_bytes: int = 0

    def add(self, more: Looked) -> None:
        """Add what was looked at elsewhere."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(more, name))
