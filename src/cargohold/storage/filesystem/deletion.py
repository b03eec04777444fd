"""Manifests and tags that go: out of the tree in one step each, and removed from the disk after that."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from cargohold.storage.durable import remove
from cargohold.storage.filesystem.manifests import FileManifests
from cargohold.storage.filesystem.tree import exists
from cargohold.storage.protocols import NotFound
from cargohold.storage.totals import Sums, repository_shard

if TYPE_CHECKING:
    from cargohold.types.digest import Digest
    from cargohold.types.names import RepositoryName, Tag

_FEW: Final = 32


class FileDeletion(FileManifests):
    """The part of the store that deletes manifests and tags."""

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
            self.note_change(repository)
            for tag in self.tags_of(repository):
                if self.points_to(repository, tag, digest):
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
            self.note_change(repository)
            try:
                gone = self.away(self.layout.tag(repository, tag))
            except FileNotFoundError:
                raise NotFound(tag) from None
        self.disk.sync_folder(self.layout.tags(repository))
        remove(gone)
