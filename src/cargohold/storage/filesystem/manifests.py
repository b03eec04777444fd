"""Manifests and tags: revisions under the repository's lock, tags that appear and go as whole folders."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from cargohold.storage.filesystem.blobs import FileBlobs
from cargohold.storage.filesystem.content import ContentCache, ReaderAtOnce
from cargohold.storage.filesystem.tree import (
    exists,
    folder_names,
    read_link,
    store_error,
    told,
)
from cargohold.storage.locks import MOMENT
from cargohold.storage.protocols import NotFound, Unavailable
from cargohold.types.digest import Algorithm, Digest
from cargohold.types.errors import TagInvalid
from cargohold.types.names import Tag

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cargohold.storage.filesystem.leases import Terms
    from cargohold.storage.filesystem.places import Place, Seen
    from cargohold.types.names import RepositoryName

_FEW = 32
_REMEMBERED_LINKS = 4_096


class FileManifests(FileBlobs):
    """The part of the store that keeps manifests and tags; what lists them is in `FileLists`."""

    def __init__(self, root: str, terms: Terms | None = None) -> None:
        super().__init__(root, terms)
        self._contents = ContentCache()
        self._reader = ReaderAtOnce()
        self._first: dict[RepositoryName, str] = {}

    async def resolve_tag(self, repository: RepositoryName, tag: Tag) -> Digest:
        try:
            digest = read_link(self.layout.tag_current(repository, tag))
        except OSError as error:
            raise store_error(error) from error
        if digest is None:
            raise NotFound(tag)
        return digest

    async def read_manifest(self, repository: RepositoryName, digest: Digest) -> bytes:
        try:
            is_here = exists(self.layout.revision_link(repository, digest))
        except OSError as error:
            raise store_error(error) from error
        if not is_here:
            raise NotFound(digest)
        content = self._contents.get(digest)
        if content is None:
            content = self._reader.read(self.layout.data(digest), self.layout.blobs)
            # A thread costs ten times what it takes to read a few thousand bytes.
            if content is None or not digest.names(content):
                content = await self.in_metadata(self.read_content, digest)
            self._contents.put_if_recurring(digest, content)
        return content

    def read_content(self, digest: Digest) -> bytes:
        """Read once and check: what is kept in memory is what the digest says."""
        try:
            with open(self.layout.data(digest), "rb", buffering=0) as file:
                content = file.read()
        except FileNotFoundError:
            raise NotFound(digest) from None
        if not digest.names(content):
            raise Unavailable(f"the stored bytes of manifest {digest} are damaged")
        return content

    async def lease_manifest(
        self, repository: RepositoryName, digest: Digest, patience: float | None = None
    ) -> None:
        folder = self.layout.revision(repository, digest)
        try:
            # In this order: what is collected in between is not here, and what is made is leased.
            is_due, is_here = self.leases.is_due(folder), exists(f"{folder}/link")
        except OSError as error:
            raise store_error(error) from error
        if not is_here:
            raise NotFound(digest)
        renew = partial(self.lease_link, repository, folder)
        if is_due and not self.at_once(repository, renew):
            # Few wait, and a timer costs more than all the rest.
            async with asyncio.timeout(patience):
                await self.in_turn(repository, renew)

    async def missing_manifests(self, repository: RepositoryName, digests: Sequence[Digest]) -> list[Digest]:
        if len(digests) > _FEW:
            return await self.in_metadata(self._missing_manifests, repository, digests)
        with told():
            return self._missing_manifests(repository, digests)

    def _missing_manifests(self, repository: RepositoryName, digests: Sequence[Digest]) -> list[Digest]:
        return [d for d in digests if not exists(f"{self.layout.revision(repository, d)}/link")]

    def _lease(self, place: Place) -> Seen | None:
        """Renew the lease on a link, if it is there."""
        link = place.look()
        if link is not None and self.leases.is_old(link.leased):
            self.leases.renew_now(place.folder)
        return link

    def lease_link(self, repository: RepositoryName, folder: str, seconds: float = MOMENT) -> None:
        """Renew the lease on a link of a repository, whose lock is waited for so long. Raises NotFound, and Busy."""
        with self.locks.hold(repository, seconds=seconds):
            if not exists(f"{folder}/link"):
                raise NotFound(folder)
            self.leases.renew_now(folder)

    def note_change(self, repository: RepositoryName) -> None:
        """Under the repository's lock, before a manifest or tag is stored: who looked at them knows that it is so."""
        with suppress(FileNotFoundError):
            self.disk.touch(os.path.dirname(self.layout.revisions(repository)))

    def state_of(self, repository: RepositoryName) -> int:
        """A number that is another one after each manifest that is stored or tagged there; 0 where there is none.

        Only under the repository's lock is nothing half stored, so that what comes later changes what was read there.
        """
        try:
            return os.stat(os.path.dirname(self.layout.revisions(repository))).st_mtime_ns
        except FileNotFoundError:
            return 0

    def tags_of(self, repository: RepositoryName) -> Iterator[Tag]:
        for name in folder_names(self.layout.tags(repository)):
            with suppress(TagInvalid):
                yield Tag(name)

    def points_to(self, repository: RepositoryName, tag: Tag, digest: Digest) -> bool:
        return read_link(self.layout.tag_current(repository, tag)) == digest

    def has_manifest(self, repository: RepositoryName) -> bool:
        """Whether the repository exists: it holds at least one manifest."""
        known = self._first.get(repository)
        if known is not None and exists(known):
            return True
        found = next(self._links_of(repository), None)
        if found is not None:
            self._remember_link(repository, found)
        return found is not None

    def _links_of(self, repository: RepositoryName) -> Iterator[str]:
        """The links of the manifests of a repository: there may be very many."""
        for algorithm in Algorithm:
            with (
                suppress(FileNotFoundError, NotADirectoryError),
                os.scandir(f"{self.layout.revisions(repository)}/{algorithm.value}") as entries,
            ):
                for entry in entries:
                    if exists(link := f"{entry.path}/link"):
                        yield link

    def _remember_link(self, repository: RepositoryName, link: str) -> None:
        """Where to look first; a few hundred bytes each."""
        if len(self._first) >= _REMEMBERED_LINKS:
            self._first.clear()
        self._first[repository] = link
