"""What is done about what a check finds: nothing that cannot be undone, and nothing to what is young.

Everything is looked at again under the locks that servers hold for their own changes. Whatever is taken out of the
tree goes to `cargohold/quarantine/<time>/`, under the path that it had, and `list.jsonl` there says why, a line each:
the line is on the disk before the thing is moved.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import msgspec

from cargohold.storage import disk
from cargohold.storage.change import Change
from cargohold.storage.durable import remove, write_all
from cargohold.storage.filesystem.checking.findings import Finding, Outcome, Remedy, Suspect
from cargohold.storage.filesystem.tree import exists, folder_names, read_link, size_of
from cargohold.storage.filesystem.walk import repositories
from cargohold.storage.layout import flat
from cargohold.storage.locks import PATIENCE, Busy
from cargohold.storage.totals import Sums, content_shard, repository_shard
from cargohold.types.digest import Algorithm, Digest
from cargohold.types.names import RepositoryName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cargohold.storage.filesystem import FilesystemStore
    from cargohold.storage.filesystem.checking.reading import Reader

_LIST: Final = "list.jsonl"
_BLOBS: Final = "docker/registry/v2/blobs"
# Of something that is judged by its age, what bears the times that tell when somebody last put it or asked for it.
_TIMED: Final = ("", "/link", "/data", "/startedat", "/current", "/current/link")


class Repair:
    """Judges suspects; mends them too where `mends` says so. For threads.

    What is younger than `min_age` seconds is neither moved nor removed: somebody may be about to use it. In the
    `aliased` repositories nothing is changed: a symbolic link gives each of them a second name, and so a second lock.
    """

    def __init__(self, store: FilesystemStore, reader: Reader, *, mends: bool, min_age: float) -> None:
        self._store, self._layout, self._reader = store, store.layout, reader
        self._mends, self._min_age = mends, min_age
        self._locks = mends or os.access(self._layout.locks, os.W_OK, effective_ids=True)
        self._listing = threading.Lock()
        self.aliased: set[str] = set()
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        self.place = f"{self._layout.quarantine}/{now}"

    @contextmanager
    def held(self, *names: str) -> Iterator[None]:
        """Hold the locks of repositories and digests, where there are any to be held."""
        if not self._locks:
            yield
            return
        with self._store.locks.hold(*names, seconds=PATIENCE):
            yield

    def judge(self, suspect: Suspect) -> Finding | None:
        """What is found, and what became of it; None where it is not so after all."""
        finding = suspect.finding
        try:
            if suspect.missing is not None and self._mends and self.restore(suspect.missing):
                return _ended(finding, Outcome.RESTORED)
            with self.held(*suspect.names):
                if not suspect.again():
                    return None
                if self._mends and not self._is_aliased(finding):
                    return self._mended(suspect)
            return self._foretold(suspect)
        except Busy as error:
            return _ended(finding, Outcome.FAILED, str(error))
        except OSError as error:
            return _ended(finding, Outcome.FAILED, error.strerror or str(error))

    def recounted(self, finding: Finding, recount: Callable[[], bool]) -> Finding:
        """What is found of the totals, and what became of it."""
        if not self._mends:
            return finding
        if recount():
            return _ended(finding, Outcome.RECOUNTED)
        return _ended(finding, Outcome.FAILED, "another process is counting")

    @staticmethod
    def restored(finding: Finding) -> Finding:
        """The same finding, where another copy has taken the place of what was taken out."""
        return _ended(finding, Outcome.RESTORED, "a copy with the right bytes took its place", finding.place)

    def _foretold(self, suspect: Suspect) -> Finding:
        """A finding that is not mended, with what repair would do."""
        finding, missing = suspect.finding, suspect.missing
        if missing is not None and any(self._reader.matches(copy, missing) for copy in self._copies(missing)):
            return msgspec.structs.replace(finding, remedy=Remedy.RESTORE)
        return _ended(finding, Outcome.ALIASED) if self._is_aliased(finding) else finding

    def _is_aliased(self, finding: Finding) -> bool:
        """Whether repair would change what is in a repository that has two names."""
        return (
            finding.remedy is not Remedy.NOTHING
            and finding.repository in self.aliased
            and finding.path.startswith(self._relative(self._layout.repositories) + "/")
        )

    def _mended(self, suspect: Suspect) -> Finding:
        """Under the locks of what is mended."""
        finding = suspect.finding
        path = f"{self._layout.root}/{finding.path}"
        match finding.remedy:
            case Remedy.WRITE:
                self._changing(finding, lambda: self._write(suspect))
                return _ended(finding, Outcome.WRITTEN)
            case Remedy.QUARANTINE | Remedy.REMOVE if self.is_young(path):
                return _ended(finding, Outcome.YOUNG)
            case Remedy.QUARANTINE:
                self._changing(finding, lambda: self._take_out(finding, path))
                return _ended(finding, Outcome.QUARANTINED, place=self._relative(self._place_of(path)))
            case Remedy.REMOVE:
                self._changing(finding, suspect.end or (lambda: remove(path)))
                return _ended(finding, Outcome.REMOVED)
            case _:
                return _ended(finding, Outcome.LEFT)

    def _changing(self, finding: Finding, change: Callable[[], None]) -> None:
        """Make a change of manifests or tags known to those who look at them, and to what is counted."""
        if "/_manifests/" not in finding.path:
            change()
            return
        repository = RepositoryName(finding.repository)
        before = self._store.has_manifest(repository)
        self._store.note_change(repository)
        change()
        more = self._store.has_manifest(repository) - before
        if more:
            self._store.noted.add(repository_shard(repository), Sums(repositories=more))

    def is_young(self, path: str, age: float = 0.0) -> bool:
        """Whether something was put there, or asked for, so lately (within `age` seconds too) that it is let alone."""
        times = []
        for part in _TIMED:
            with suppress(FileNotFoundError, NotADirectoryError):
                times.append(os.lstat(f"{path}{part}").st_mtime)
        return bool(times) and time.time() - max(times) < max(age, self._min_age)

    def is_new(self, path: str) -> bool:
        """Whether a name has come about so lately, by whatever was done to it, that it is to be let alone."""
        with suppress(FileNotFoundError):
            return time.time() - os.lstat(path).st_ctime < self._min_age
        return True

    def _write(self, suspect: Suspect) -> None:
        with Change(self._store.disk, self._layout.new) as change:
            for path, content in suspect.files.items():
                change.file(path, content)
            change.stage()
            change.place()
            for name in suspect.names:
                if ":" in name:
                    # A collector that runs just now does not know that this content is linked.
                    self._store.leases.renew(self._layout.blob(Digest(name)))
            change.settle()

    def _take_out(self, finding: Finding, path: str) -> None:
        target = self._place_of(path)
        self._tell(_ended(finding, Outcome.QUARANTINED, place=self._relative(target)))
        size = size_of(f"{path}/data") if finding.repository == "" else None
        store = self._store
        self._make_durable(os.path.dirname(target))
        store.disk.rename(path, target)
        if size is not None:
            store.noted.add(content_shard(Digest(finding.digest)), Sums(content=-size))
        store.disk.settle((os.path.dirname(path), os.path.dirname(target)))

    def _make_durable(self, folder: str) -> None:
        """Before anything is moved into it: a power cut that undid the folder alone would take that with it."""
        self._store.disk.make_folders(folder)
        self._store.disk.settle((folder,))

    def _tell(self, finding: Finding) -> None:
        """Write down durably why something is taken out."""
        path, line = f"{self.place}/{_LIST}", msgspec.json.encode(finding, enc_hook=str) + b"\n"
        with self._listing:
            self._store.disk.make_folders(self.place)
            descriptor = disk.open_file(path, is_new=False)
            try:
                os.lseek(descriptor, 0, os.SEEK_END)
                write_all(descriptor, line)
                disk.sync_file(descriptor)
            finally:
                os.close(descriptor)
            self._store.disk.settle((self.place,))

    def _place_of(self, path: str) -> str:
        return f"{self.place}/{self._relative(path)}"

    def _relative(self, path: str) -> str:
        return os.path.relpath(path, self._layout.root)

    def restore(self, digest: Digest) -> bool:
        """Put content that is not in its place back there, from where its right bytes are; whether that was done."""
        target = self._layout.data(digest)
        for copy in self._copies(digest):
            with suppress(FileNotFoundError):
                if not self._reader.reads(copy, digest):
                    continue
                with self.held(digest), Change(self._store.disk, self._layout.new) as change:
                    if exists(target):
                        return False
                    self._make_durable(os.path.dirname(target))
                    change.move(copy, target)
                    change.rely_on(copy)
                    with self._store.storing({digest: os.stat(copy).st_size}):
                        change.place()
                    change.settle()
                return True
        return False

    def _copies(self, digest: Digest) -> Iterator[str]:
        """Where else content of this digest may lie: what was collected a moment ago, and what was taken out before."""
        places = [f"{self._layout.swept}/{flat(digest)}/data"]
        algorithm, encoded = digest.algorithm.value, digest.hex
        for earlier in sorted(folder_names(self._layout.quarantine), reverse=True):
            folder = f"{self._layout.quarantine}/{earlier}"
            if folder != self.place:
                places.append(f"{folder}/{_BLOBS}/{algorithm}/{encoded[:2]}/{encoded}/data")
        yield from filter(os.path.isfile, places)

    def twin(self, digest: Digest) -> Digest | None:
        """The digest under which Distribution keeps what was pushed by a SHA-512 one, as links tell."""
        if digest.algorithm is Algorithm.SHA256:
            return None
        for name in repositories(self._layout.repositories):
            holder = read_link(f"{self._layout.layer(name, digest)}/link")
            if holder is not None and holder != digest and exists(self._layout.data(holder)):
                return holder
        return None


def _ended(finding: Finding, outcome: Outcome, note: str = "", place: str = "") -> Finding:
    """The same finding, with what became of it."""
    note = "; ".join(filter(None, (finding.note, note)))
    return msgspec.structs.replace(finding, outcome=outcome, note=note, place=place)
