"""Links of blobs that no manifest of their repository refers to, and that nobody has asked for in a while."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from cargohold.storage.collecting import Collected
from cargohold.storage.durable import remove
from cargohold.storage.filesystem.collection.foreign import named_below, nameless_folders, unknown_algorithms
from cargohold.storage.filesystem.leases import leased_at
from cargohold.storage.filesystem.tree import exists, read_link, size_of, store_error
from cargohold.storage.locks import Busy
from cargohold.storage.protocols import NotFound, StoreError, Unreadable
from cargohold.types.digest import Algorithm, Digest
from cargohold.types.errors import DigestInvalid
from cargohold.types.mentions import mentioned, pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cargohold.storage.filesystem import FilesystemStore
    from cargohold.storage.filesystem.collection.linked import Linked
    from cargohold.storage.filesystem.pace import Pace
    from cargohold.types.names import RepositoryName

_BATCH: Final = 32
_LOCK_SECONDS: Final = 1.0


class LinkSweep:
    """Takes away links that nothing needs; whatever stays is added to `linked`.

    Nothing is taken away in a repository of which not every manifest can be read. `age` is how old a lease must be
    (seconds), when the look at the repository begins; for `grace` see `FileTrash.purge`. In a dry run nothing is taken
    away, and nothing of what would be is added.
    """

    def __init__(  # noqa: PLR0913 - what a run is made of
        self,
        store: FilesystemStore,
        linked: Linked,
        pace: Pace,
        found: Callable[[Collected], None],
        *,
        age: float,
        grace: float | None = None,
        is_dry: bool,
    ) -> None:
        self._store = store
        self._linked = linked
        self._pace = pace
        self._found = found
        self._age = age
        self._grace = grace
        self._is_dry = is_dry
        self._holders: set[bytes] = set()
        self._stuck: OSError | None = None

    def sweep(self, repository: RepositoryName) -> None:
        """Look at all links of a repository.

        Raises Unreadable where not all of its manifests could be read: then all of its links stay. And where some of
        what was to go could not be taken away, at the end.
        """
        before = time.time() - self._age
        try:
            needed = self._needed(repository)
        except Unreadable:
            self._sweep_all(repository, None, before)
            raise
        self._stuck = None
        self._sweep_all(repository, needed, before)
        if self._stuck is not None:
            raise Unreadable(f"not all could be taken away: {store_error(self._stuck)}")

    def keep_all(self, repository: RepositoryName) -> None:
        """Note all that a repository links to, and take away nothing."""
        self._manifests(repository)
        for folder in unknown_algorithms(self._store.layout.revisions(repository)):
            for packed in named_below(folder):
                self._linked.add(packed)
        for record in self._store.records(repository, _pass_over):
            self._linked.add(pack(record.digest))
        self._sweep_all(repository, None, 0.0)

    def keep_nameless(self) -> None:
        """Note all that is named in folders which no repository can have the name of."""
        for folder in nameless_folders(self._store.layout.repositories):
            for packed in named_below(folder):
                self._linked.add(packed)
                self._pace.step()

    def _sweep_all(self, repository: RepositoryName, needed: set[bytes] | None, before: float) -> None:
        """SHA-256 comes last: a blob that is linked by another digest needs its link by that too, for Distribution."""
        self._holders.clear()
        for folder in unknown_algorithms(self._store.layout.layers(repository)):
            for packed in named_below(folder):
                self._holders.add(packed)
                self._linked.add(packed)
        for algorithm in reversed(Algorithm):
            self._sweep_folder(repository, algorithm, needed, before)

    def _needed(self, repository: RepositoryName) -> set[bytes]:
        """What the manifests of a repository mention, those in its trash too. Raises Unreadable.

        Manifests are listed first: what is deleted meanwhile has a record before it goes. What is stored meanwhile
        leases all that it references.
        """
        manifests, problems, now = self._manifests(repository), list[str](), time.time()
        unknown = unknown_algorithms(self._store.layout.revisions(repository))
        for record in self._store.records(repository, noting(problems), grace=self._grace):
            if self._store.is_alive(record, now, grace=self._grace):
                self._note(f"{self._store.layout.revision(repository, record.digest)}/link", record.digest)
                manifests.append(record.digest)
        for folder in unknown:
            for packed in named_below(folder):
                self._linked.add(packed)
        if unknown:
            raise Unreadable(f"there are manifests by an algorithm that is not known here: {unknown[0]}")
        if problems:
            raise Unreadable(f"a record of the trash cannot be read: {problems[0]}")
        needed: set[bytes] = set()
        for digest in manifests:
            needed |= self._mentions(digest)
        return needed

    def _manifests(self, repository: RepositoryName) -> list[Digest]:
        """All of them, each noted as linked, also where one of them turns out to be unreadable."""
        found: list[Digest] = []
        for algorithm in Algorithm:
            folder = f"{self._store.layout.revisions(repository)}/{algorithm.value}"
            for path, digest in digests_in(folder, algorithm):
                self._pace.step()
                if exists(f"{path}/link"):
                    self._note(f"{path}/link", digest)
                    found.append(digest)
        return found

    def _mentions(self, digest: Digest) -> set[bytes]:
        self._pace.step()
        try:
            return mentioned(self._store.read_content(digest))
        except StoreError as error:
            reason = "its content is missing" if isinstance(error, NotFound) else str(error)
            raise Unreadable(f"manifest {digest} cannot be read: {reason}") from None

    def _sweep_folder(
        self, repository: RepositoryName, algorithm: Algorithm, needed: set[bytes] | None, before: float
    ) -> None:
        folder = f"{self._store.layout.layers(repository)}/{algorithm.value}"
        doomed: list[tuple[str, Digest]] = []
        is_changed = False
        for path, digest in digests_in(folder, algorithm):
            self._pace.step()
            packed = pack(digest)
            is_needed = needed is None or packed in needed or packed in self._holders
            if is_needed or leased_at(path, "link") >= before:
                self._note(f"{path}/link", digest)
                continue
            doomed.append((path, digest))
            if len(doomed) == _BATCH:
                is_changed |= self._remove(repository, doomed, before)
                doomed.clear()
        is_changed |= self._remove(repository, doomed, before)
        if is_changed:
            # Links go before content does, on every file system.
            self._store.disk.sync_folder(folder)

    def _remove(self, repository: RepositoryName, doomed: list[tuple[str, Digest]], before: float) -> bool:
        """Take these away, but for those that have been leased meanwhile; whether there were any."""
        gone: list[str] = []
        if self._is_dry:
            for _, digest in doomed:
                self._tell(repository, digest)
            return False
        try:
            with self._store.locks.hold(repository, seconds=_LOCK_SECONDS):
                for path, digest in doomed:
                    if leased_at(path, "link") >= before:
                        self._note(f"{path}/link", digest)
                        continue
                    with suppress(FileNotFoundError), self._unless_stuck(path, digest):
                        gone.append(self._store.away(path))
                        self._tell(repository, digest)
        except Busy:
            for path, digest in doomed:
                self._note(f"{path}/link", digest)
        for path in gone:
            remove(path)
            self._pace.step()
        return bool(gone)

    @contextmanager
    def _unless_stuck(self, path: str, digest: Digest) -> Iterator[None]:
        """What may not be taken away stays, and keeps nothing else from going."""
        try:
            yield
        except PermissionError as error:
            self._stuck = error
            self._note(f"{path}/link", digest)

    def _tell(self, repository: RepositoryName, digest: Digest) -> None:
        size = size_of(self._store.layout.data(digest)) or 0
        self._found(Collected("link", repository, digest, size))

    def _note(self, link: str, digest: Digest) -> None:
        """Content that is linked by another digest than its own has that in its link (see `FileBlobs`)."""
        self._linked.add(pack(digest))
        if digest.algorithm is not Algorithm.SHA256:
            holder = read_link(link)
            if holder is not None and holder != digest:
                self._holders.add(pack(holder))
                self._linked.add(pack(holder))


def noting(problems: list[str]) -> Callable[[str, str], None]:
    """What notes a record of the trash that cannot be read."""
    return lambda name, reason: problems.append(f"{name}: {reason}")


def _pass_over(_name: str, _reason: str) -> None:
    """It is kept, like all else."""


def digests_in(folder: str, algorithm: Algorithm) -> Iterator[tuple[str, Digest]]:
    """The folders in it that are named by a digest of the algorithm, in no order; none where there is no folder."""
    try:
        entries = os.scandir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    with entries:
        for entry in entries:
            with suppress(DigestInvalid):
                yield entry.path, Digest(f"{algorithm.value}:{entry.name}")
