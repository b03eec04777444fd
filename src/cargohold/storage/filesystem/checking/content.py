"""The check of content: that each blob has bytes, and where that is asked for, that they are those of its digest."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Final

from cargohold.storage import disk
from cargohold.storage.filesystem.checking.findings import Finding, Kind, Looked, Outcome, Remedy, Suspect
from cargohold.storage.filesystem.checking.folders import unreadable
from cargohold.storage.filesystem.tree import exists, folder_names, size_of
from cargohold.types.digest import Algorithm, Digest
from cargohold.types.errors import DigestInvalid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cargohold.storage.filesystem.checking.reading import Reader
    from cargohold.storage.filesystem.checking.repair import Repair
    from cargohold.storage.layout import Layout

FOLDERS: Final = tuple((algorithm, f"{number:02x}") for algorithm in Algorithm for number in range(256))
"""The folders of content, in the order in which they are checked."""

_NOTHING: Final = {algorithm: Digest.of(b"", algorithm) for algorithm in Algorithm}


class ContentCheck:
    """Checks blobs one by one. For threads."""

    def __init__(self, layout: Layout, repair: Repair, reader: Reader) -> None:
        self._layout, self._repair, self._reader = layout, repair, reader

    def digests(self, algorithm: Algorithm, prefix: str) -> list[Digest]:
        """The digests of which there is a folder among those with this prefix, sorted."""
        found = []
        for name in sorted(folder_names(f"{self._layout.blobs}/{algorithm.value}/{prefix}")):
            try:
                found.append(Digest(f"{algorithm.value}:{name}"))
            except DigestInvalid:
                continue
        return found

    def check(
        self,
        digest: Digest,
        looked: Looked,
        *,
        verify: bool = False,
        once: bool = False,
        until: float = math.inf,
    ) -> Iterator[Finding]:
        """What is wrong with a blob; with `verify`, its bytes are read, or `once` those that many name.

        Raises ClosingError, and LateError where its bytes could not be read before `until` (monotonic seconds).
        """
        data = self._layout.data(digest)
        try:
            size = size_of(data)
            if size is None:
                yield from self._without(digest)
                return
            looked.blobs += 1
            looked.bytes += size
            if size == 0 and digest != _NOTHING[digest.algorithm]:
                yield from self._wrong(digest, Kind.EMPTY_CONTENT)
            elif verify:
                read = self._reader
                is_right = read.matches(data, digest) if once else read.reads(data, digest, until)
                looked.verified += 1
                looked.verified_bytes += size
                if not is_right:
                    yield from self._wrong(digest, Kind.WRONG_CONTENT)
        except FileNotFoundError:
            return  # collected meanwhile
        except OSError as error:
            yield unreadable(self._layout, error, data, digest)

    def is_right(self, digest: Digest) -> Iterator[Finding]:
        """The finding where the bytes of a blob are not those of its digest; read at most once."""
        data = self._layout.data(digest)
        try:
            if not self._reader.matches(data, digest):
                yield from self._wrong(digest, Kind.WRONG_CONTENT)
        except FileNotFoundError:
            return
        except OSError as error:
            yield unreadable(self._layout, error, data, digest)

    def is_known_as_wrong(self, digest: Digest) -> bool:
        """Whether the bytes of a blob were read, and are still those that were found wrong."""
        try:
            return self._reader.is_wrong(self._layout.data(digest), digest)
        except OSError:
            return False

    def _without(self, digest: Digest) -> Iterator[Finding]:
        folder = self._layout.blob(digest)
        if not os.path.isdir(folder) or self._repair.is_young(folder):
            return
        is_empty = not folder_names(folder)
        finding = self._finding(digest, Kind.NO_CONTENT, Remedy.REMOVE if is_empty else Remedy.QUARANTINE)

        def again() -> bool:
            return os.path.isdir(folder) and not exists(f"{folder}/data")

        yield from self._judged(Suspect(finding, (digest,), again, end=lambda: disk.remove_folder(folder)))

    def _wrong(self, digest: Digest, kind: Kind) -> Iterator[Finding]:
        """It is taken out, so that clients are told to push it again; then another copy may take its place."""
        data = self._layout.data(digest)
        status = os.stat(data)

        def again() -> bool:
            try:
                now = os.stat(data)
            except FileNotFoundError:
                return False
            return os.path.samestat(now, status) and (now.st_size, now.st_mtime_ns) == (
                status.st_size,
                status.st_mtime_ns,
            )

        for finding in self._judged(
            Suspect(self._finding(digest, kind, Remedy.QUARANTINE), (digest,), again)
        ):
            is_out = finding.outcome is Outcome.QUARANTINED
            yield self._repair.restored(finding) if is_out and self._repair.restore(digest) else finding

    def _finding(self, digest: Digest, kind: Kind, remedy: Remedy) -> Finding:
        path = os.path.relpath(self._layout.blob(digest), self._layout.root)
        return Finding(kind=kind, path=path, remedy=remedy, digest=digest)

    def _judged(self, suspect: Suspect) -> Iterator[Finding]:
        found = self._repair.judge(suspect)
        if found is not None:
            yield found
