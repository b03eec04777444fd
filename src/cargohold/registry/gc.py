"""Garbage collection: which manifests nobody needs, and a run from its beginning to its report.

Blobs need no plan: those that a manifest of their repository mentions stay, those that are leased do too, and the
store sees to that.
"""

from __future__ import annotations

import logging
import math
import time
from typing import TYPE_CHECKING, Final

import msgspec

from cargohold.storage.collecting import Collected
from cargohold.storage.protocols import Changed, NotFound, Unavailable, Unreadable
from cargohold.storage.trash import Cause, Why
from cargohold.types.mentions import unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cargohold.storage.collecting import Collection, Held
    from cargohold.types.names import RepositoryName

_TRIES: Final = 20
_MOST_KIN: Final = 256

_log = logging.getLogger(__name__)


class Report(msgspec.Struct, kw_only=True):
    """What a run has come to. Sizes are in bytes, times in seconds; `started` is since the epoch.

    `tags` are those that no rule of retention kept, `links` blobs that a repository no longer holds, `blobs` those that
    none holds, whose content was collected (`collected_bytes`); `freed_bytes` were removed from the disk, also of what
    an earlier run had collected. `skipped` has the reason for each repository in which nothing, or not all, was
    collected; where one could not even be listed, all `content_stays`. A run that has not `ended` is gone on with by
    the next.
    """

    started: float
    is_dry: bool
    is_resumed: bool = False
    ended: bool = False
    seconds: float = 0.0
    repositories: int = 0
    tags: int = 0
    manifests: int = 0
    links: int = 0
    blobs: int = 0
    collected_bytes: int = 0
    freed_bytes: int = 0
    skipped: dict[str, str] = {}
    content_stays: bool = False

    def add(self, found: Collected) -> None:
        """Count something that was collected, or would be."""
        self.manifests += found.kind == "manifest"
        self.links += found.kind == "link"
        if found.kind == "blob":
            self.blobs += 1
            self.collected_bytes += found.size


def unneeded(held: Held, *, before: float, untagged: bool) -> dict[bytes, Why]:
    """The manifests of a repository that go, and why. Pure.

    A manifest is needed that has a tag, that can still be restored, or that was leased at `before` or later; and
    whatever a needed one refers to, or refers to a needed one as its subject. All others go where `untagged` ones are
    collected; otherwise only those that refer to a subject which was deleted and cannot be restored any more, and are
    not needed either. They come in the order in which they are to go.
    """
    followers = _followers(held, _gone(held))
    if not untagged and not followers:
        return {}
    roots = {digest for digest, known in held.manifests.items() if known.leased >= before}
    roots |= held.tagged | held.trashed.keys()
    if not untagged:
        roots |= held.manifests.keys() - followers
    doomed = held.manifests.keys() - _reached(held, roots)
    return {
        digest: Why.SUBJECT_DELETED if digest in followers else Why.UNTAGGED
        for digest in _outermost_first(held, doomed)
    }


def awaited(held: Held, doomed: Iterable[bytes], *, untagged: bool) -> set[bytes]:
    """What was deleted and still has to be known: something that refers to it is spared for its lease alone. Pure.

    `doomed` are those that go now.
    """
    gone, found = _gone(held), set[bytes]()
    if gone:
        for digest in unneeded(held, before=math.inf, untagged=untagged).keys() - doomed:
            found.update(gone.intersection(_subjects(held, digest)))
    return found


def kin(held: Held, doomed: Iterable[bytes]) -> dict[bytes, set[bytes]]:
    """Of each manifest that goes, those by which it could come to be needed, and itself. Pure.

    All that goes is tied to what it mentions of that, and to its subject, which may not be there at all yet; and kin
    are all that ties lead to. Whatever comes to be needed leads to one of them first, which is leased then.
    """
    ties: dict[bytes, set[bytes]] = {digest: set() for digest in doomed}
    for digest in list(ties):
        known = held.manifests[digest]
        tied = [each for each in known.mentions if each in ties]
        for each in [*tied, known.subject] if known.subject is not None else tied:
            ties[digest].add(each)
            ties.setdefault(each, set()).add(digest)
    found: dict[bytes, set[bytes]] = {}
    for digest in ties:
        if digest not in found:
            family, todo = set[bytes](), [digest]
            while todo:
                each = todo.pop()
                if each not in family:
                    family.add(each)
                    todo += ties[each]
            found |= dict.fromkeys(family, family)
    return found


def _gone(held: Held) -> set[bytes]:
    return held.gone.difference(held.manifests, held.trashed)


def _subjects(held: Held, digest: bytes) -> set[bytes]:
    """What a manifest refers to, and what that does."""
    found: set[bytes] = set()
    known = held.manifests.get(digest)
    while known is not None and known.subject is not None and known.subject not in found:
        found.add(known.subject)
        known = held.manifests.get(known.subject)
    return found


def _outermost_first(held: Held, digests: set[bytes]) -> list[bytes]:
    """Each before those that it mentions: so that one of which somebody is told that it is there is whole."""
    innermost_first: list[bytes] = []
    seen: set[bytes] = set()
    todo = [(digest, False) for digest in digests]
    while todo:
        digest, is_entered = todo.pop()
        if is_entered:
            innermost_first.append(digest)
        elif digest not in seen:
            seen.add(digest)
            todo.append((digest, True))
            todo += [(each, False) for each in held.manifests[digest].mentions if each in digests]
    return innermost_first[::-1]


def _followers(held: Held, gone: Iterable[bytes]) -> set[bytes]:
    """What refers to one that is gone, and what refers to that."""
    found: set[bytes] = set()
    by_subject = _by_subject(held)
    todo = list(gone)
    while todo:
        for digest in by_subject.get(todo.pop(), ()):
            if digest not in found:
                found.add(digest)
                todo.append(digest)
    return found


def _reached(held: Held, roots: Iterable[bytes]) -> set[bytes]:
    by_subject = _by_subject(held)
    needed: set[bytes] = set()
    todo = list(roots)
    while todo:
        digest = todo.pop()
        if digest in needed:
            continue
        needed.add(digest)
        todo += by_subject.get(digest, ())
        for known in (held.manifests.get(digest), held.trashed.get(digest)):
            if known is not None:
                todo += known.mentions
    return needed


def _by_subject(held: Held) -> dict[bytes, list[bytes]]:
    found: dict[bytes, list[bytes]] = {}
    for digest, known in held.manifests.items():
        if known.subject is not None:
            found.setdefault(known.subject, []).append(digest)
    return found


class Collector:
    """One run over a whole registry, into a report.

    `age` is for how many seconds what nobody needs must have had no lease; `untagged` says of a repository whether
    manifests without a tag are collected there. `found` is called with each manifest that is collected, or would be in
    a dry run; the collection itself calls it with each link and blob.
    """

    def __init__(
        self,
        collection: Collection,
        report: Report,
        *,
        age: float,
        untagged: Callable[[RepositoryName], bool],
        found: Callable[[Collected], None],
    ) -> None:
        self._collection = collection
        self._age = age
        self._untagged = untagged
        self._found = found
        self.report = report
        report.is_resumed = collection.is_resumed

    def run(self) -> None:
        """Do it all; the report tells how far it came also where this raises."""
        began = time.monotonic()
        try:
            for repository in self._collection.repositories():
                self.report.repositories += 1
                self._collect(repository)
            for part, reason in self._collection.collect_content().items():
                self._skip(part, reason)
            for name, reason in self._collection.unlisted.items():
                self._skip(name, reason)
                self.report.content_stays = True
            self.report.ended = True
        finally:
            self.report.seconds = time.monotonic() - began
            if not self.report.ended:
                self._collection.leave()

    def _collect(self, repository: RepositoryName) -> None:
        now = time.time()
        try:
            still = self._collect_manifests(repository, now)
            if not self.report.is_dry:
                self._collection.purge(repository, now, still)
        except Unavailable as error:
            self._skip(repository, str(error))
        try:
            self._collection.collect_links(repository)
        except Unreadable as error:
            self._skip(repository, str(error))

    def _skip(self, repository: str, reason: str) -> None:
        if repository not in self.report.skipped:
            self.report.skipped[repository] = reason
            _log.warning("not all is collected in %s: %s", repository, reason)

    def _collect_manifests(self, repository: RepositoryName, now: float) -> set[bytes]:
        """Where one that goes comes to be needed meanwhile all is looked at again; where that goes on, by the next run.

        Gives what is `awaited`.
        """
        untagged = self._untagged(repository)
        for _ in range(_TRIES):
            if not untagged and not self._collection.has_gone(repository):
                return set()
            held = self._collection.manifests(repository)
            doomed = unneeded(held, before=now - self._age, untagged=untagged)
            try:
                self._remove(repository, held, doomed)
            except Changed:
                continue
            return awaited(held, doomed, untagged=untagged)
        raise Unavailable("manifests that would go are asked for, or pushed again, all the time")

    def _remove(self, repository: RepositoryName, held: Held, doomed: dict[bytes, Why]) -> None:
        families = kin(held, doomed)
        for packed, why in doomed.items():
            digest, family = unpack(packed), families[packed]
            # Where there are too many to be looked at under a lock, whatever is stored meanwhile counts.
            since = held.began if len(family) <= _MOST_KIN else 0.0
            if not self.report.is_dry:
                try:
                    self._collection.remove(
                        repository, digest, Cause(why), state=held.state, since=since, kin=family
                    )
                except NotFound:
                    continue
            self._found(Collected("manifest", repository, digest, held.manifests[packed].size, why.value))
