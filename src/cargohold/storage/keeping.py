"""What retention asks of a store: when tags were pushed and pulled, and to remove those that are not kept.

When manifests are pulled is recorded only where that is asked for, and only while a server runs that was asked. So
whoever compares a time with the present must know for how much of the time between the record was kept: `Recording`
says it. Time in which nobody recorded does not make a manifest older.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from cargohold.types.digest import Digest
from cargohold.types.names import Tag

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from cargohold.storage.collecting import Held
    from cargohold.types.names import RepositoryName

BEAT_SECONDS: Final = 600.0
"""How often whoever records says that it does."""

_GAP_SECONDS: Final = 3600.0
_MOST_GAPS: Final = 1000


class TagState(msgspec.Struct, frozen=True):
    """What a tag points to, when it was last pushed, and when its manifest was last pulled, as far as was recorded.

    Times are seconds since the epoch.
    """

    tag: Tag
    digest: Digest
    pushed: float
    pulled: float | None


class Recording(msgspec.Struct, frozen=True):
    """When pulls were recorded: in the repositories of each pattern since a time, up to `seen`, but not in the gaps.

    Times are seconds since the epoch; the gaps are in their order and do not overlap.
    """

    since: dict[str, float] = {}
    gaps: tuple[tuple[float, float], ...] = ()
    seen: float = 0.0

    def continued(self, patterns: Collection[str], now: float) -> Recording:
        """As it is when pulls are recorded now for these patterns, and for no others.

        After more than an hour without a word the time since then is a gap: no server ran, the machine slept, or its
        clock was set.
        """
        since = {pattern: self.since.get(pattern, now) for pattern in patterns}
        gaps = self._gaps(now)
        # Where there are too many, what was recorded before them counts for nothing.
        lost, gaps = gaps[:-_MOST_GAPS], gaps[-_MOST_GAPS:]
        start = lost[-1][1] if lost else 0.0
        since = {pattern: max(start, begun) for pattern, begun in since.items()}
        first = min(since.values(), default=now)
        return Recording(since, tuple(gap for gap in gaps if gap[1] > first), now)

    def horizon(self, pattern: str, seconds: float, now: float) -> float:
        """The time after which so many seconds were recorded up to now; minus infinity where there were not so many."""
        since = self.since.get(pattern, now)
        end = now
        for start, stop in reversed(self._gaps(now)):
            begun = max(stop, since)
            if end - begun >= seconds:
                break
            seconds -= max(0.0, end - begun)
            end = min(end, start)
        return end - seconds if end - seconds >= since else float("-inf")

    def _gaps(self, now: float) -> tuple[tuple[float, float], ...]:
        return (*self.gaps, (self.seen, now)) if self.since and now - self.seen > _GAP_SECONDS else self.gaps


class PullStore(Protocol):
    """Keeps when manifests were last pulled. What a power cut may undo are the last seconds of it."""

    async def note_pull(self, repository: RepositoryName, digest: Digest) -> None:
        """The manifest is being pulled now. Raises StoreError where that cannot be written down."""
        ...

    async def go_on_recording(self, patterns: Collection[str]) -> None:
        """Pulls are recorded in the repositories of these patterns, and have been since the last call.

        To be called before the first pull is answered, and every BEAT_SECONDS. Raises StoreError.
        """
        ...


class Keeper(Protocol):
    """A store whose tags are kept by rules. For one thread, which each call may keep waiting for the disk.

    All raise StoreError.
    """

    def repositories(self) -> Iterator[RepositoryName]:
        """Every repository, in no order."""
        ...

    def recording(self, repository: RepositoryName | None = None) -> Recording:
        """When pulls were recorded at all; in a repository, which has a record of its own that may have been lost."""
        ...

    def begin_record(self, repository: RepositoryName) -> None:
        """Say that the repository has a record from now on, unless it has one already."""
        ...

    def tag_states(self, repository: RepositoryName) -> list[TagState]:
        """Its tags, in no order."""
        ...

    def manifests(self, repository: RepositoryName) -> Held:
        """What the repository holds. Raises Unreadable."""
        ...

    def remove_manifest(self, repository: RepositoryName, digest: Digest, *, state: int, age: float) -> None:
        """Delete a manifest with its tags.

        Raises Changed where any was stored or tagged since that `state`, or this one leased in the last `age` seconds.
        """
        ...

    def remove_tag(self, repository: RepositoryName, found: TagState) -> bool:
        """Remove a tag, and not what it points to, unless it was moved, pushed again or pulled; whether it is gone."""
        ...

    def forget_pulls(self, repository: RepositoryName) -> None:
        """Drop what is recorded of manifests that are no longer there."""
        ...
