"""Lists of tags and of repositories."""

from __future__ import annotations

import os
import time
from contextlib import suppress

from cargohold.storage.filesystem.manifests import FileManifests
from cargohold.storage.filesystem.tree import exists, folder_names
from cargohold.storage.filesystem.walk import repositories
from cargohold.storage.lists import after as names_after
from cargohold.storage.protocols import NotFound
from cargohold.types.errors import NameInvalid, TagInvalid
from cargohold.types.names import RepositoryName, Tag

_CHEAP_WALK = 0.025
_WALK_SHARE = 20


class FileLists(FileManifests):
    """The part of the store that lists."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self._next_walk = 0.0

    async def list_tags(self, repository: RepositoryName, after: str, limit: int) -> list[Tag]:
        return await self.in_metadata(self._list_tags, repository, after, limit)

    def _list_tags(self, repository: RepositoryName, after: str, limit: int) -> list[Tag]:
        """A tag is one only while it has its link: another server's tag may be half made or half removed."""
        names = self.lists.names(self.layout.tags(repository), self.layout.tags_list(repository))
        found: list[Tag] = []
        if limit > 0:
            for name in names_after(names, after):
                with suppress(TagInvalid):
                    tag = Tag(name)
                    if exists(self.layout.tag_current(repository, tag)):
                        found.append(tag)
                        if len(found) == limit:
                            break
        if not found and not self.has_manifest(repository):
            raise NotFound(repository)
        return found

    async def list_repositories(self, after: str, limit: int) -> list[RepositoryName]:
        return await self.in_metadata(self._list_repositories, after, limit)

    def _list_repositories(self, after: str, limit: int) -> list[RepositoryName]:
        self._reconcile_catalog()
        names = self.lists.names(self.layout.catalog, self.layout.catalog_list, _unmark)
        found: list[RepositoryName] = []
        if limit > 0:
            for name in names_after(names, after):
                with suppress(NameInvalid):
                    repository = RepositoryName(name)
                    if self.has_manifest(repository):
                        found.append(repository)
                        if len(found) == limit:
                            break
        return found

    def _reconcile_catalog(self) -> None:
        """Make the marks agree with the tree, which another server may have changed.

        A walk that is cheap is made every time; a dear one once at first, and then for a twentieth of the time.
        """
        now = time.monotonic()
        if now < self._next_walk:
            return
        marked = set(folder_names(self.layout.catalog))
        for name in repositories(self.layout.repositories):
            mark = os.path.basename(self.layout.catalog_mark(name))
            if mark not in marked and self.has_manifest(name):
                with self.locks.hold(name):
                    self._mark(name)
        took = time.monotonic() - now
        self._next_walk = now if took < _CHEAP_WALK else now + took * _WALK_SHARE


def _unmark(name: str) -> str:
    return name.replace(":", "/")
