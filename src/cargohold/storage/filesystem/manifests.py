"""Manifests and tags: revisions under the repository's lock, tags that appear and go as whole folders."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from cargohold.storage.durable import Change, remove
from cargohold.storage.filesystem.content import ContentCache
from cargohold.storage.filesystem.tree import (
    Tree,
    exists,
    folder_names,
    read_link,
    size_of,
    store_error,
    told,
)
from cargohold.storage.layout import flat
from cargohold.storage.protocols import NotFound, Unavailable
from cargohold.storage.totals import Sums, repository_shard
from cargohold.types.digest import Algorithm, Digest
from cargohold.types.errors import TagInvalid
from cargohold.types.names import Tag

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cargohold.types.names import RepositoryName
    from cargohold.types.oci import Manifest

_FEW = 32
_RETRIES = 8


class FileManifests(Tree):
    """The part of the store that keeps manifests and tags; what lists them is in `FileLists`."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self._contents = ContentCache()

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
            is_here = exists(f"{self.layout.revision(repository, digest)}/link")
        except OSError as error:
            raise store_error(error) from error
        if not is_here:
            raise NotFound(digest)
        content = self._contents.get(digest)
        if content is None:
            content = await self.in_metadata(self._read_content, digest)
            self._contents.put(digest, content)
        return content

    def _read_content(self, digest: Digest) -> bytes:
        """Read once and check: what is kept in memory is what the digest says."""
        try:
            with open(self.layout.data(digest), "rb", buffering=0) as file:
                content = file.read()
        except FileNotFoundError:
            raise NotFound(digest) from None
        if Digest.of(content, digest.algorithm) != digest:
            raise Unavailable(f"the stored bytes of manifest {digest} are damaged")
        return content

    async def missing_manifests(self, repository: RepositoryName, digests: Sequence[Digest]) -> list[Digest]:
        if len(digests) > _FEW:
            return await self.in_metadata(self._missing_manifests, repository, digests)
        with told():
            return self._missing_manifests(repository, digests)

    def _missing_manifests(self, repository: RepositoryName, digests: Sequence[Digest]) -> list[Digest]:
        return [d for d in digests if not exists(f"{self.layout.revision(repository, d)}/link")]

    async def commit_manifest(
        self, repository: RepositoryName, digest: Digest, manifest: Manifest, tags: Sequence[Tag]
    ) -> None:
        """Stage without the lock, then look under it whether what was taken for granted is still there."""
        for _ in range(_RETRIES):
            change = Change(self.disk, self.layout.new)
            try:
                granted = await self.in_metadata(self._stage, change, repository, digest, manifest, tags)
                size = len(manifest.content)
                if await self.in_turn(repository, self._place, change, repository, digest, size, granted):
                    await self.in_metadata(change.settle)
                    self._contents.put(digest, manifest.content)
                    return
            finally:
                await self.in_metadata(change.discard)
        raise Unavailable("the manifest's repository is changing too fast")

    def _stage(
        self,
        change: Change,
        repository: RepositoryName,
        digest: Digest,
        manifest: Manifest,
        tags: Sequence[Tag],
    ) -> list[str]:
        granted = self._plan(change, repository, digest, manifest, tags)
        change.stage()
        return granted

    def _place(
        self, change: Change, repository: RepositoryName, digest: Digest, size: int, granted: list[str]
    ) -> bool:
        with self.locks.hold(repository):
            if not all(map(exists, granted)):
                return False
            self._mark(repository)
            is_first = not self.has_manifest(repository)
            with self.storing(digest, size):
                change.place()
            if is_first:
                self.noted.add(repository_shard(repository), Sums(repositories=1))
            return True

    def _plan(
        self,
        change: Change,
        repository: RepositoryName,
        digest: Digest,
        manifest: Manifest,
        tags: Sequence[Tag],
    ) -> list[str]:
        """Fill the change in the order in which it must appear; the paths that it takes for granted."""
        granted: list[str] = []

        def add(path: str, content: bytes) -> None:
            if exists(path):
                granted.append(path)
                change.rely_on(path)
            else:
                change.file(path, content)

        data = self.layout.data(digest)
        if size_of(data) == len(manifest.content):
            granted.append(data)
            change.rely_on(data)
        else:
            change.file(data, manifest.content)
        referrer = manifest.referrer(digest)
        if referrer is not None:
            add(f"{self.layout.referrers(repository, referrer.subject)}/{flat(digest)}", referrer.descriptor)
        add(f"{self.layout.revision(repository, digest)}/link", digest.encode())
        for tag in dict.fromkeys(tags):
            add(f"{self.layout.tag_index(repository, tag, digest)}/link", digest.encode())
            change.file(self.layout.tag_current(repository, tag), digest.encode())
        return granted

    def _mark(self, repository: RepositoryName) -> None:
        """Before the first manifest: the catalog must not miss a repository. A lost mark is found by the next walk."""
        mark = self.layout.catalog_mark(repository)
        if not exists(mark):
            self.disk.make_folders(self.layout.catalog)
            os.close(os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666))

    async def delete_manifest(self, repository: RepositoryName, digest: Digest) -> list[Tag]:
        return await self.in_turn(repository, self._delete_manifest, repository, digest)

    def _delete_manifest(self, repository: RepositoryName, digest: Digest) -> list[Tag]:
        """Tags first: a reader may find the manifest without its tag, but not the tag without its manifest."""
        folder = self.layout.revision(repository, digest)
        tags: list[Tag] = []
        gone: list[str] = []
        changed = {os.path.dirname(folder)}
        with self.locks.hold(repository):
            if not exists(f"{folder}/link"):
                raise NotFound(digest)
            for tag in self._tags_of(repository):
                if self._points_to(repository, tag, digest):
                    with suppress(FileNotFoundError):
                        # Another server may be first to remove it.
                        gone.append(self.away(self.layout.tag(repository, tag)))
                    changed.add(self.layout.tags(repository))
                    tags.append(tag)
            with suppress(FileNotFoundError):
                gone.append(self.away(folder))
            if not self.has_manifest(repository):
                with suppress(FileNotFoundError):
                    os.unlink(self.layout.catalog_mark(repository))
                self.noted.add(repository_shard(repository), Sums(repositories=-1))
        self.disk.each(self.disk.sync_folder, changed)
        if len(gone) <= _FEW:
            for path in gone:
                remove(path)
        else:
            # It can take a disk many seconds. What is not done when the process ends is removed as forgotten.
            for path in gone:
                self.background.submit(remove, path)
        return tags

    async def delete_tag(self, repository: RepositoryName, tag: Tag) -> None:
        await self.in_turn(repository, self._delete_tag, repository, tag)

    def _delete_tag(self, repository: RepositoryName, tag: Tag) -> None:
        with self.locks.hold(repository):
            if not exists(self.layout.tag_current(repository, tag)):
                raise NotFound(tag)
            try:
                gone = self.away(self.layout.tag(repository, tag))
            except FileNotFoundError:
                raise NotFound(tag) from None
        self.disk.sync_folder(self.layout.tags(repository))
        remove(gone)

    def _tags_of(self, repository: RepositoryName) -> Iterator[Tag]:
        for name in folder_names(self.layout.tags(repository)):
            with suppress(TagInvalid):
                yield Tag(name)

    def _points_to(self, repository: RepositoryName, tag: Tag, digest: Digest) -> bool:
        return read_link(self.layout.tag_current(repository, tag)) == digest

    def has_manifest(self, repository: RepositoryName) -> bool:
        """Whether the repository exists: it holds at least one manifest."""
        for algorithm in Algorithm:
            with (
                suppress(FileNotFoundError, NotADirectoryError),
                os.scandir(f"{self.layout.revisions(repository)}/{algorithm.value}") as entries,
            ):
                # The first will do: there may be very many.
                if any(exists(f"{entry.path}/link") for entry in entries):
                    return True
        return False
