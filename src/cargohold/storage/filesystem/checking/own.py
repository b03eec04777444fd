"""The check of what is ours alone: marks of the catalog, what was left half made, and the totals."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Final

import msgspec

from cargohold.storage.durable import UNPLACED
from cargohold.storage.filesystem.checking.findings import Finding, Kind, Remedy, Suspect
from cargohold.storage.filesystem.checking.folders import names
from cargohold.storage.filesystem.tree import exists
from cargohold.types.errors import NameInvalid
from cargohold.types.names import RepositoryName

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cargohold.storage.filesystem import FilesystemStore
    from cargohold.storage.filesystem.checking.repair import Repair
    from cargohold.storage.protocols import Totals


_NOTED_AFTER: Final = 0.05
"""Seconds; a change is noted some microseconds after it is made."""


class OwnCheck:
    """Checks what no other server knows of. For threads."""

    def __init__(self, store: FilesystemStore, repair: Repair) -> None:
        self._store, self._layout, self._repair = store, store.layout, repair

    def mark(self, repository: RepositoryName) -> Iterator[Finding]:
        """The mark of a repository that holds a manifest; there are none before the first list of repositories."""
        mark = self._layout.catalog_mark(repository)

        def is_so() -> bool:
            return self._store.has_manifest(repository) and not exists(mark)

        if os.path.isdir(self._layout.catalog) and is_so():
            finding = self._finding(Kind.MISSING_MARK, mark, Remedy.WRITE, repository)
            yield from self._judged(Suspect(finding, (repository,), is_so, files={mark: b""}))

    def marks(self) -> Iterator[Finding]:
        """Marks of what holds no manifest, or could be no repository."""
        for name in names(self._layout.catalog):
            mark = f"{self._layout.catalog}/{name}"
            try:
                repository = RepositoryName(name.replace(":", "/"))
            except NameInvalid:
                yield from self._leftover(mark)
                continue

            def is_so(mark: str = mark, repository: RepositoryName = repository) -> bool:
                return exists(mark) and not self._store.has_manifest(repository)

            try:
                is_empty = is_so()
            except OSError:
                continue  # told of where repositories are looked at
            if is_empty:
                finding = self._finding(Kind.EMPTY_MARK, mark, Remedy.REMOVE, repository)
                yield from self._judged(Suspect(finding, (repository,), is_so))

    def leftovers(self) -> Iterator[Finding]:
        """What was being made by processes that died."""
        for name in names(self._layout.new):
            yield from self._leftover(f"{self._layout.new}/{name}")
        for name in names(self._layout.own):
            if name.endswith(UNPLACED):
                yield from self._leftover(f"{self._layout.own}/{name}")

    def _leftover(self, path: str) -> Iterator[Finding]:
        if not self._repair.is_new(path):
            finding = self._finding(Kind.LEFTOVER, path, Remedy.REMOVE)
            yield from self._judged(Suspect(finding, (), lambda: os.path.lexists(path)))

    def totals(self, before: Totals, content: int, repositories: int) -> Iterator[Finding]:
        """Whether what was found is what is noted; not to be told where that has changed since `before`."""
        now = self._store.noted.read()
        if now is None or (now.content, now.repositories) == (content, repositories):
            return
        time.sleep(_NOTED_AFTER)
        if self._store.noted.read() != before or now != before:
            return
        finding = self._finding(Kind.WRONG_TOTALS, self._layout.totals, Remedy.RECOUNT)
        noted = f"{now.content} bytes and {now.repositories} repositories are noted"
        note = f"{noted}; there are {content} and {repositories}"
        yield self._repair.recounted(msgspec.structs.replace(finding, note=note), self.recount)

    def recount(self) -> bool:
        """Count all that is stored anew; False where another process does that just now."""
        return asyncio.run(self._store.recount(0.0, share=1.0))

    def _finding(
        self, kind: Kind, path: str, remedy: Remedy, repository: RepositoryName | str = ""
    ) -> Finding:
        relative = os.path.relpath(path, self._layout.root)
        return Finding(kind=kind, path=relative, remedy=remedy, repository=repository)

    def _judged(self, suspect: Suspect) -> Iterator[Finding]:
        found = self._repair.judge(suspect)
        if found is not None:
            yield found
