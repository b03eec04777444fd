"""Lists of tags and of repositories."""

from __future__ import annotations

import asyncio
import errno
import math
import os
import time
from bisect import bisect_right
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from cargohold.storage import disk
from cargohold.storage.filesystem.manifests import FileManifests
from cargohold.storage.filesystem.presence import PIECE, Rounds, present
from cargohold.storage.filesystem.tree import UNWRITABLE
from cargohold.storage.filesystem.walk import Below, KnownFolders, read_folder, repositories
from cargohold.storage.lists import LongReading
from cargohold.storage.lists import after as names_after
from cargohold.storage.protocols import NotFound, Unavailable
from cargohold.types.errors import NameInvalid, TagInvalid
from cargohold.types.names import RepositoryName, Tag

if TYPE_CHECKING:
    from collections.abc import Callable

    from cargohold.storage.filesystem.leases import Terms
    from cargohold.storage.protocols import View

    _Read = partial[list[str]]

T = TypeVar("T")

_FEW_REPOSITORIES = 1_000
_WALK_SHARE = 20
_MOST_VIEWS = 64
_MOST_LOOKS = 2_000
_ALWAYS = 0.0
_WALK = "walk"
_PATIENCE = 60.0
_LINK = "current/link"


class _WalkNeeded(Exception):
    """A page cannot be had from the tree: too many folders hold nothing, or marks alone tell what a folder hides."""


class FileLists(FileManifests):
    """The part of the store that lists."""

    def __init__(self, root: str, terms: Terms | None = None) -> None:
        super().__init__(root, terms)
        self._tag_rounds = Rounds()
        self._walking: asyncio.Future[None] | None = None
        self._next_walk = _ALWAYS
        self._first_pages = asyncio.Lock()
        self._is_small = False
        self._walked = self._mark_made = -math.inf
        self._known_folders = KnownFolders()
        self._marks = partial(self.lists.names, self.layout.catalog, self.layout.catalog_list, _unmark)
        self._marked: tuple[list[str], frozenset[str]] = [], frozenset()
        self._unmarked: set[RepositoryName] = set()
        self._views: dict[View, tuple[list[str], list[str]]] = {}

    async def list_tags(self, repository: RepositoryName, after: str, limit: int) -> list[str]:
        """A tag is one only while it has its link: another server's tag may be half made or half removed."""
        folder, limit = self.layout.tags(repository), max(limit, 0)
        tags, found = await self._listed(
            partial(self.lists.names, folder, self.layout.tags_list(repository), _tag),
            partial(self._list_tags, folder, after, limit),
        )
        if found is None:
            there = await self._tag_rounds.result(
                tags, lambda piece: self.in_metadata(present, folder, piece, _LINK)
            )
            start = bisect_right(there, after)
            found = there[start : start + limit]
        if not found and not await self.in_metadata(self.has_manifest, repository):
            raise NotFound(repository)
        return found

    async def _listed(self, read: _Read, call: Callable[[_Read, float], T]) -> T:
        """What the call, in a thread, gives of what can be read in a folder and of the present time.

        Where it takes long to read that, it is read once for all who wait for it.
        """
        asked = time.monotonic()
        try:
            return await self.in_metadata(call, partial(read, quickly=True), asked)
        except LongReading:
            await self.turns.result(read.args, partial(self.in_metadata, read), _PATIENCE)
            return await self.in_metadata(call, read, asked)

    @staticmethod
    def _list_tags(
        folder: str, after: str, limit: int, read: _Read, asked: float
    ) -> tuple[list[str], list[str] | None]:
        """What may be tags, and those that are listed, unless too many must be looked at for one call."""
        tags = read(asked=asked)
        start = bisect_right(tags, after)
        if min(limit, len(tags) - start) > PIECE:
            return tags, None
        found: list[str] = []
        while len(found) < limit and start < len(tags):
            stop = start + limit - len(found)
            found += present(folder, tags[start:stop], _LINK)
            start = stop
        return tags, found

    async def list_repositories(
        self, after: str, limit: int, visible: View | None = None
    ) -> list[RepositoryName]:
        if self._next_walk == _ALWAYS and visible is None:
            with suppress(_WalkNeeded):
                return await self._first_repositories(after, limit)
        if not self._is_small:
            await self._look_around()
        return await self._listed(self._marks, partial(self._list_repositories, after, limit, visible))

    async def _first_repositories(self, after: str, limit: int) -> list[RepositoryName]:
        """As many from the tree itself, while the first walk goes on. Raises _WalkNeeded.

        One page at a time: what is read for the first is known to the others.
        """
        try:
            async with asyncio.timeout(_PATIENCE), self._first_pages:
                found = await self.in_metadata(self._list_in_tree, after, limit)
        except TimeoutError:
            raise Unavailable(
                "too many lists are asked for while the storage is read for the first time"
            ) from None
        self._go_on_walking()
        return found

    def _list_in_tree(self, after: str, limit: int) -> list[RepositoryName]:
        looks = 0

        def look(folder: str, name: RepositoryName | None) -> Below:
            nonlocal looks
            looks += 1
            try:
                below = self._known_folders.look(folder, name)
            except PermissionError:
                raise _WalkNeeded from None
            if looks > _MOST_LOOKS or not below.is_all:
                raise _WalkNeeded
            return below

        names = repositories(self.layout.repositories, look, after)
        return list(islice(filter(self.has_manifest, names), max(limit, 0)))

    def _list_repositories(
        self, after: str, limit: int, visible: View | None, read: _Read, asked: float
    ) -> list[RepositoryName]:
        if self._is_small and self._walked < asked:
            self._mark_unmarked()
        names = read(asked=max(asked, self._mark_made))
        if self._unmarked:
            names = sorted({*names, *self._unmarked})
        if visible is not None:
            names = self._seen(names, visible)
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

    def _seen(self, names: list[str], visible: View) -> list[str]:
        """Those of the names that are visible; kept, so that those that are not cost their asker no time."""
        kept = self._views.get(visible)
        if kept is not None and kept[0] is names:
            return kept[1]
        seen = [name for name in names if _is_visible(name, visible)]
        if len(self._views) >= _MOST_VIEWS:
            self._views.clear()
        self._views[visible] = names, seen
        return seen

    async def _look_around(self) -> None:
        """See that the marks agree with the tree, which another server may have changed.

        The tree is walked before the first list, unless that can be had from the tree itself, and before every list
        where there are few repositories, for all who asked before the walk began. Where there are many, a walk goes on
        beside the lists for at most a twentieth of the time, so that what another server adds while we serve is listed
        later; what we add is marked by ourselves.
        """
        if self._next_walk == _ALWAYS:
            await self.turns.result(_WALK, self._walk, _PATIENCE)
        else:
            self._go_on_walking()

    def _go_on_walking(self) -> None:
        """Beside the lists, one walk at a time; an error of the last one is told to the one who asks next."""
        if self._walking is not None and self._walking.done():
            walk, self._walking = self._walking, None
            if not walk.cancelled():  # with the loop that it was begun in, which tells nothing of the tree
                walk.result()
        if self._walking is None and time.monotonic() >= self._next_walk:
            self._walking = asyncio.ensure_future(self.turns.result(_WALK, self._walk, math.inf))

    async def _walk(self) -> None:
        await self.in_background(self._mark_unmarked)

    def _mark_unmarked(self) -> None:
        began, seen, unmarked = time.monotonic(), 0, set()
        marks = self._marks(asked=began)
        if self._marked[0] is not marks:
            self._marked = marks, frozenset(marks)
        marked = self._marked[1]
        look = self._known_folders.look if self._is_small else read_folder
        for name in repositories(self.layout.repositories, look):
            seen += 1
            # Without the lock: a mark that comes late stands for nothing, and is passed over.
            if name not in marked and self.has_manifest(name) and not self._has_made_mark(name):
                unmarked.add(name)
            if self.closing:
                return
        self._unmarked, self._walked = unmarked, began
        ended = time.monotonic()
        self._is_small = seen <= _FEW_REPOSITORIES
        if not self._is_small:  # and may be far too large to be kept
            self._known_folders = KnownFolders()
        self._next_walk = ended + (ended - began) * _WALK_SHARE

    def _has_made_mark(self, name: RepositoryName) -> bool:
        """False where nothing can be written."""
        try:
            self.disk.make_folders(self.layout.catalog)
            os.close(disk.open_file(self.layout.catalog_mark(name), is_new=False))
        except OSError as error:
            if error.errno not in {*UNWRITABLE, errno.ENOENT}:
                raise
            return False
        self._mark_made = time.monotonic()
        return True


def _is_visible(name: str, visible: View) -> bool:
    try:
        return visible(RepositoryName(name))
    except NameInvalid:
        return False


def _tag(name: str) -> str | None:
    try:
        return str(Tag(name))
    except TagInvalid:
        return None


def _unmark(name: str) -> str:
    return name.replace(":", "/")
