"""The check of a whole tree: manifests, content, links, and what is ours alone, in this order.

What is repaired of content decides what is found of links, so they come after it: what one run leaves well, the next
finds well. Nothing is held in memory but what is being looked at: a part of the digests of one folder, and of the
folders of a repository one entry after the other.
"""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from cargohold.storage.filesystem.checking.content import FOLDERS, ContentCheck
from cargohold.storage.filesystem.checking.findings import REPAIRED, Finding, Kind, Looked
from cargohold.storage.filesystem.checking.folders import readable, unreadable
from cargohold.storage.filesystem.checking.links import LinkCheck
from cargohold.storage.filesystem.checking.manifests import ManifestCheck
from cargohold.storage.filesystem.checking.own import OwnCheck
from cargohold.storage.filesystem.checking.reading import Rate, Reader
from cargohold.storage.filesystem.checking.repair import Repair
from cargohold.storage.filesystem.checking.threads import looked_at
from cargohold.storage.filesystem.checking.verified import Progress, Verification, Verified
from cargohold.storage.filesystem.pace import ClosingError
from cargohold.storage.filesystem.tree import UNWRITABLE, folder_names
from cargohold.storage.filesystem.walk import repositories_and_aliases
from cargohold.storage.locks import open_lock, try_lock
from cargohold.storage.protocols import Conflict

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from cargohold.storage.filesystem import FilesystemStore
    from cargohold.types.digest import Digest
    from cargohold.types.names import RepositoryName

T = TypeVar("T")

HOUR: Final = 3_600.0
_CHUNK: Final = 256
_MOST_TOLD: Final = 100_000
_OF_CONTENT: Final = frozenset({Kind.WRONG_CONTENT, Kind.EMPTY_CONTENT, Kind.UNREADABLE})


class Wanted(NamedTuple):
    """What a check is to do.

    `matches` says which repositories are looked at; None: the whole tree. With `verify` all content is read, or that
    of those repositories, no faster than `rate` bytes a second, for at most `seconds`; with `resume` from where the
    last such check was broken off. `min_age` is as in `Repair`, `idle` as in `LinkCheck`, `sparse` as in
    `ManifestCheck`.
    """

    repair: bool = False
    verify: bool = False
    resume: bool = False
    rate: int | None = None
    seconds: float | None = None
    jobs: int = 1
    sparse: bool = False
    min_age: float = HOUR
    idle: float = HOUR
    matches: Callable[[RepositoryName], bool] | None = None


class Check:
    """One check of a tree. `looked` is how much was looked at so far."""

    def __init__(self, store: FilesystemStore, wanted: Wanted) -> None:
        self.looked = Looked()
        self.progress: Progress | None = None
        self._kept = Verified(store.layout)
        self._verification: Verification | None = None
        self._store, self._layout, self._wanted = store, store.layout, wanted
        self._closing = threading.Event()
        reader = Reader(Rate(wanted.rate, self._closing.is_set))
        self._repair = Repair(store, reader, mends=wanted.repair, min_age=wanted.min_age)
        self._content = ContentCheck(self._layout, self._repair, reader)
        self._manifests = ManifestCheck(self._layout, self._repair, self._content, sparse=wanted.sparse)
        self._links = LinkCheck(store, self._repair, idle=wanted.idle)
        self._own = OwnCheck(store, self._repair)
        self._told: set[str] = set()

    @property
    def place(self) -> str:
        """Where this check puts what it takes out of the tree."""
        return self._repair.place

    @property
    def is_whole(self) -> bool:
        """Whether all content was verified that was to be."""
        return self._verification is None or self._verification.is_whole

    @property
    def is_kept(self) -> bool:
        """Whether it is written down how far the verification has come."""
        return self._kept.is_kept

    def run(self, advance: Callable[[int], None] = lambda _: None) -> Generator[Finding]:
        """Check, and repair where that is wanted; what is found, as it is found. To be run once.

        `advance` is called with how many more things were looked at. Raises Conflict where another process repairs or
        verifies this tree, where the tree cannot be served from here, and where all content is missing and repair
        would take out every link: then nothing was done.
        """
        self._store.check()
        with self._alone():
            if self._wanted.repair:
                self._require_content()
            yield from self._told_once(self._passes(advance))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep others from repairing and verifying meanwhile; where nothing can be written, nobody does."""
        with ExitStack() as held:
            if self._wanted.repair or self._wanted.verify:
                try:
                    descriptor = open_lock(f"{self._layout.locks}/fsck")
                except OSError as error:
                    if self._wanted.repair or error.errno not in UNWRITABLE:
                        raise
                else:
                    held.callback(os.close, descriptor)
                    if not try_lock(descriptor):
                        raise Conflict("another fsck verifies or repairs this storage: wait for its end")
            yield

    def _require_content(self) -> None:
        """A disk that is not mounted looks like a tree whose every link leads to nothing."""
        folders = (f"{self._layout.blobs}/{algorithm.value}/{prefix}" for algorithm, prefix in FOLDERS)
        if not any(map(folder_names, folders)) and any(
            any(self._manifests.revisions(each)) for each in self._all() if not isinstance(each, Finding)
        ):
            raise Conflict(
                f"{self._layout.blobs} is empty, and there are manifests: is a disk missing? Nothing was repaired"
            )

    def _told_once(self, findings: Iterable[Finding]) -> Iterator[Finding]:
        """Damage to content may be come upon by more than one way."""
        for finding in findings:
            if finding.kind in _OF_CONTENT:
                if finding.path in self._told:
                    continue
                if len(self._told) < _MOST_TOLD:
                    self._told.add(finding.path)
            yield finding

    def _passes(self, advance: Callable[[int], None]) -> Iterator[Finding]:
        can_be_read = os.access(self._layout.totals, os.R_OK | os.W_OK, effective_ids=True)
        before = self._store.noted.read() if can_be_read else None
        is_changed = is_unread = False
        is_of_all = self._wanted.matches is None
        for finding in self._parts(advance, is_of_all=is_of_all):
            is_changed |= finding.outcome in REPAIRED
            is_unread |= finding.kind is Kind.UNREADABLE
            yield finding
        if before is None or is_unread:
            return  # what cannot be read cannot be counted
        if is_changed:
            self._own.recount()
        elif is_of_all and self.is_whole and not self._repair.aliased:
            yield from self._own.totals(before, self.looked.bytes, self.looked.repositories)

    def _parts(self, advance: Callable[[int], None], *, is_of_all: bool) -> Iterator[Finding]:
        yield from self._each_repository(self._contents, advance)
        if is_of_all:
            yield from self._all_content(advance)
        yield from self._each_repository(self._repository, advance)
        if is_of_all:
            for part in (self._own.marks(), self._own.leftovers()):
                yield from readable(self._layout, part, self._layout.own)

    def _each(
        self,
        look: Callable[[T, Looked], Iterator[Finding]],
        things: Iterable[T],
        advance: Callable[[int], None],
        ended: Callable[[T, Looked], None] = lambda *_: None,
    ) -> Iterator[Finding]:
        """What is found of each of the things, by as many threads as are wanted; `ended` hears when that is all."""

        def work(thing: T) -> Iterator[Finding | tuple[T, Looked]]:
            looked = Looked()
            yield from readable(self._layout, look(thing, looked), self._layout.root)
            yield thing, looked

        for found in looked_at(self._wanted.jobs, work, things, self._closing):
            if isinstance(found, tuple):
                self.looked.add(found[1])
                ended(*found)
                advance(1)
            else:
                yield found

    def _each_repository(
        self, look: Callable[[RepositoryName, Looked], Iterator[Finding]], advance: Callable[[int], None]
    ) -> Iterator[Finding]:
        matches = self._wanted.matches

        def look_at(each: RepositoryName | Finding, looked: Looked) -> Iterator[Finding]:
            if isinstance(each, Finding):
                yield each
            elif matches is None or matches(each):
                yield from look(each, looked)

        yield from self._each(look_at, self._all(), advance)

    def _all(self) -> Iterator[RepositoryName | Finding]:
        """Every repository that can be served, and in the place of those that cannot be read why that is so."""
        folder, unread = self._layout.repositories, list[Finding]()

        def fail(name: str, error: OSError) -> None:
            unread.append(unreadable(self._layout, error, f"{folder}/{name}"))

        for name, has_two in repositories_and_aliases(folder, self._require_open, fail):
            if has_two:
                self._repair.aliased.add(name)
            yield name
        yield from unread

    def _require_open(self) -> None:
        if self._closing.is_set():
            raise ClosingError

    def _contents(self, repository: RepositoryName, looked: Looked) -> Iterator[Finding]:
        """The content of the manifests of a repository; where not all content is looked at, that of its blobs too."""
        yield from self._manifests.contents(repository)
        if self._wanted.matches is not None:
            for digest in self._links.blobs(repository):
                yield from self._content.check(digest, looked, verify=self._wanted.verify, once=True)

    def _repository(self, repository: RepositoryName, looked: Looked) -> Iterator[Finding]:
        """Each part by itself: what cannot be read of one does not keep the others from being looked at."""
        missed = set[str]()
        for part in (
            self._links.revisions(repository),
            self._named(repository, looked, missed),
            self._links.layers(repository, missed),
            self._links.tags(repository, looked),
            self._links.uploads(repository),
            self._own.mark(repository),
        ):
            yield from readable(self._layout, part, self._layout.repository(repository))
        looked.repositories += self._store.has_manifest(repository)

    def _named(self, repository: RepositoryName, looked: Looked, missed: set[str]) -> Iterator[Finding]:
        """What manifests name; blobs that are not there are added to those that are `missed`."""
        for digest in self._manifests.revisions(repository):
            part = self._manifests.check(repository, digest, looked)
            for finding in readable(self._layout, part, self._layout.revision(repository, digest)):
                if finding.kind is Kind.MISSING_BLOB and len(missed) < _MOST_TOLD:
                    missed.add(finding.digest)
                yield finding

    def _all_content(self, advance: Callable[[int], None]) -> Iterator[Finding]:
        if not self._wanted.verify:
            for chunk in self._chunks():
                yield from (
                    chunk if isinstance(chunk, tuple) else self._each(self._content.check, chunk, advance)
                )
            return
        progress = self.progress = self._kept.begin(resume=self._wanted.resume)
        verification = Verification(self._content, self._kept, progress, self._wanted.seconds)
        self._verification = verification
        try:
            for chunk in self._chunks():
                if isinstance(chunk, tuple):
                    yield from chunk
                    continue
                verification.begin(chunk)
                yield from self._each(verification.look, chunk, advance, verification.note)
            verification.end()
        finally:
            self._kept.save(progress, at_once=True)

    def _chunks(self) -> Iterator[list[Digest] | tuple[Finding]]:
        """All digests, some at a time; or in their place why they could not be read."""
        for algorithm, prefix in FOLDERS:
            try:
                digests = self._content.digests(algorithm, prefix)
            except OSError as error:
                yield (unreadable(self._layout, error, self._layout.blobs),)
                continue
            for start in range(0, len(digests), _CHUNK):
                yield digests[start : start + _CHUNK]
