"""What may be seen of a registry that many change at once, known from who asked for what, when, and what was answered.

Nobody knows when exactly between its question and its answer a change came about, nor whether it did at all where the
server died. So what is told here is what must be, whatever the order was; what may be one way or another is not judged.
"""

from __future__ import annotations

import math
import threading
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tests.soak.pool import Pool

HERE = "here"
_PRUNE_EVERY = 64
_SPANS = 8
_LONGEST = 120.0
"""Seconds that nobody's look takes."""


class Key(NamedTuple):
    """Something that a repository may hold: a `blob` or `manifest`, by digest, or a `tag`."""

    kind: str
    repository: str
    name: str


class Span(NamedTuple):
    """In which something is promised without a break: since the first promise was told, until the last one ends."""

    since: float
    until: float


@dataclass(eq=False)
class Change:
    """A change that came about between two times, if it did: for certain, where it was acknowledged.

    With `only` it was one that leaves another value than that as it is.
    """

    value: str | None
    started: float
    only: str | None = None
    ended: float = math.inf
    acknowledged: bool = False


class Register:
    """The changes of one thing, which has one value at a time: None, where it is not there."""

    def __init__(self) -> None:
        self._changes = [Change(None, -math.inf, ended=-math.inf, acknowledged=True)]

    def add(self, change: Change) -> None:
        """Take note of a change that is about to be asked for."""
        self._changes.append(change)
        if len(self._changes) % _PRUNE_EVERY == 0:
            self._prune(change.started - _LONGEST)

    def remove(self, change: Change) -> None:
        """A change was refused: it did nothing."""
        self._changes.remove(change)

    def possible(self, start: float, end: float) -> set[str | None]:
        """The values that whoever looks between two times may see."""
        return {
            each.value
            for each in self._changes
            if each.started <= end
            and not self._is_undone(each, start)
            and (each.only is None or self._had(each.only, each))
        }

    def last_set(self, value: str, start: float, end: float) -> float | None:
        """When it was last given this value, which it has for certain; None where it may have another."""
        if self.possible(start, end) != {value}:
            return None
        return max(each.started for each in self._changes if each.value == value and each.acknowledged)

    def steady_since(self, value: str, start: float, end: float) -> float | None:
        """Since when at least it has had this value without a break, up to `end`; None where that is not certain."""
        if self.possible(start, end) != {value}:
            return None
        last = max(
            (
                each.ended
                for each in self._changes
                if each.value != value and each.ended < start and each.only in (None, value)
            ),
            default=-math.inf,
        )
        return min(
            (
                each.ended
                for each in self._changes
                if each.value == value and each.acknowledged and each.started >= last
            ),
            default=None,
        )

    def _is_undone(self, change: Change, before: float) -> bool:
        """Whether another came after it for certain, and before that time."""
        return any(
            each.acknowledged
            and change.ended < each.started
            and each.ended < before
            and each.only in (None, change.value)
            for each in self._changes
        )

    def _had(self, value: str, at: Change) -> bool:
        """Whether it may have had the value when a change that asks for that came about."""
        return any(
            each.value == value
            and each.started <= at.ended
            and not any(
                other.acknowledged
                and other.only is None
                and each.ended < other.started
                and other.ended < at.started
                for other in self._changes
            )
            for each in self._changes
        )

    def _prune(self, before: float) -> None:
        self._changes = [each for each in self._changes if not self._is_undone(each, before)]


class Changes:
    """What one request changes, as long as it runs."""

    def __init__(self, changes: Sequence[tuple[Register, Change]]) -> None:
        self._changes = changes

    def acknowledge(self, now: float) -> None:
        """It was answered that it is done."""
        for _, change in self._changes:
            change.ended, change.acknowledged = now, True

    def refuse(self) -> None:
        """It was answered that it is not done."""
        for register, change in self._changes:
            register.remove(change)

    def doubt(self, now: float) -> None:
        """It was not answered, and does not come about any more."""
        for _, change in self._changes:
            change.ended = now


class History:
    """What was changed and promised so far. All times are `time.monotonic`; safe for threads, by `lock`.

    `grace` is how many seconds what was pushed, mounted or asked for is safe, whether anything uses it or not.
    """

    def __init__(self, pool: Pool, tags: Sequence[str], grace: float) -> None:
        self.lock = threading.RLock()
        self.grace = grace
        self._pool = pool
        self._tags = tags
        self._registers: defaultdict[Key, Register] = defaultdict(Register)
        self._leases: defaultdict[Key, list[Span]] = defaultdict(list)

    def begin(self, now: float, *changes: tuple[Key, str | None]) -> Changes:
        """Something is about to be changed: to a value (a digest, or HERE), or away (None)."""
        return self._begin((key, Change(value, now)) for key, value in changes)

    def begin_deletion(self, now: float, repository: str, digest: str) -> Changes:
        """A manifest is about to be deleted, and with it whatever tag points to it."""
        manifest = [(Key("manifest", repository, digest), Change(None, now))]
        tags = [(Key("tag", repository, tag), Change(None, now, only=digest)) for tag in self._tags]
        return self._begin(manifest + tags)

    def _begin(self, changes: Iterable[tuple[Key, Change]]) -> Changes:
        with self.lock:
            begun = [(self._registers[key], change) for key, change in changes]
            for register, change in begun:
                register.add(change)
            return Changes(begun)

    def lease(self, key: Key, asked: float, told: float) -> None:
        """Who asked, and was told, at these times that this is there may rely on it for the grace time."""
        with self.lock:
            spans, until = self._leases[key], asked + self.grace
            if spans and told < spans[-1].until and spans[-1].since < until:
                spans[-1] = Span(min(told, spans[-1].since), max(until, spans[-1].until))
            else:
                spans.append(Span(told, until))
                del spans[:-_SPANS]

    def see(self, key: Key, start: float, end: float) -> None:
        """Who looked between two times found it: whatever was in doubt before, it was there."""
        with self.lock:
            if None in self.possible(key, start, end):
                self._registers[key].add(Change(HERE, start, ended=end, acknowledged=True))

    def possible(self, key: Key, start: float, end: float) -> set[str | None]:
        """The values that whoever looks at it between two times may see, as far as changes alone decide."""
        with self.lock:
            return self._registers[key].possible(start, end)

    def must_be_here(self, key: Key, start: float, end: float) -> str:
        """Why a blob or manifest must be found by whoever looks between two times; empty where it need not be."""
        with self.lock:
            if None in self._registers[key].possible(start, end):
                return ""
            for each in self._leases[key]:
                if each.since <= start and end < each.until:
                    return f"promised {end - each.until + self.grace:.3f} s ago"
            return next(self._holders(key, start, end), "")

    def _holders(self, key: Key, start: float, end: float) -> Iterator[str]:
        if key.kind == "manifest":
            for tag in self._tags:
                if self.possible(Key("tag", key.repository, tag), start, end) == {key.name}:
                    yield f"tagged {tag}"
        for each in self._pool.documents.values():
            if key.name in (*each.blobs, *each.children):
                why = self.must_be_here(Key("manifest", key.repository, each.digest), start, end)
                if why:
                    yield f"part of {each.digest}, {why}"
        document = self._pool.documents.get(key.name)
        if document is not None and document.subject is not None:
            yield from self._subjects(key, document.subject, start, end)

    def _subjects(self, key: Key, subject: str, start: float, end: float) -> Iterator[str]:
        """A referrer stays while its subject does: for certain, where that was tagged before the referrer came."""
        pushed = self._registers[key].last_set(HERE, start, end)
        for tag in self._tags:
            tagged = self._registers[Key("tag", key.repository, tag)].steady_since(subject, start, end)
            if pushed is not None and tagged is not None and tagged < pushed:
                yield f"refers to {subject}, tagged {tag}"
