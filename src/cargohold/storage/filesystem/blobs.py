"""Blobs: content kept once, and the links that let a repository see it."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from cargohold.storage.batches import Batches, each_for_itself
from cargohold.storage.change import Change
from cargohold.storage.durable import remove
from cargohold.storage.filesystem.tree import exists, is_link, read_link, size_of, store_error, told
from cargohold.storage.filesystem.usage import FileUsage, UncountedError
from cargohold.storage.filesystem.walk import repositories
from cargohold.storage.locks import MOMENT, Busy
from cargohold.storage.protocols import ContentFile, NotFound, StoreError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cargohold.storage.filesystem.leases import Terms
    from cargohold.storage.protocols import View
    from cargohold.types.digest import Digest
    from cargohold.types.names import RepositoryName

_FEW = 32
_AT_ONCE = 8
_RETRIES = 8
_SEARCH_SECONDS = 2.0


class Link(NamedTuple):
    """A blob that is being made one of a repository: the digest that its content lies under, and what is there already.

    What is `granted` must still be there when the rest is put into place.
    """

    repository: RepositoryName
    digest: Digest
    holder: Digest
    granted: list[str]


class GoneError(NotFound):
    """What was taken for granted is there no more. Nothing was done, and no room is taken: all is to be done anew."""


class _Wanted(NamedTuple):
    """A blob that is to be mounted from a repository, or from any that is visible."""

    digest: Digest
    source: RepositoryName | None
    visible: View | None


class FileBlobs(FileUsage):
    """The part of the store that is a `BlobStore`."""

    def __init__(self, root: str, terms: Terms | None = None) -> None:
        super().__init__(root, terms)
        self._mounts: Batches[RepositoryName, _Wanted, None] = Batches(self._mount_each, _AT_ONCE)

    async def find_blob(self, repository: RepositoryName, digest: Digest) -> ContentFile:
        path = self.data_path(digest)
        try:
            if exists(f"{self.layout.layer(repository, digest)}/link"):
                return ContentFile(path, os.stat(path).st_size)
        except OSError:
            pass  # Distribution may keep it under another digest, and what is in the way is told below.
        with told():
            holder = self._holder(repository, digest)
            if holder is None:
                raise NotFound(digest)
            path = self.layout.data(holder)
            return ContentFile(path, os.stat(path).st_size)

    async def lease_blob(self, repository: RepositoryName, digest: Digest) -> ContentFile:
        try:
            # Before it is found: what is collected in between is not found, and what is made is leased.
            is_due = self.leases.is_due(self.layout.layer(repository, digest))
        except OSError as error:
            raise store_error(error) from error
        found = await self.find_blob(repository, digest)
        renew = partial(self._lease_blob, repository, digest)
        if is_due and not self.at_once(repository, renew):
            await self.in_turn(repository, renew)
        return found

    def _lease_blob(self, repository: RepositoryName, digest: Digest, seconds: float = MOMENT) -> None:
        with self.locks.hold(repository, seconds=seconds):
            if not self._has_blob(repository, digest):
                raise NotFound(digest)
            self.leases.renew(self.layout.layer(repository, digest))

    async def missing_blobs(self, repository: RepositoryName, digests: Sequence[Digest]) -> list[Digest]:
        if len(digests) > _FEW:
            return await self.in_metadata(self._missing_blobs, repository, digests)
        with told():
            return self._missing_blobs(repository, digests)

    def _missing_blobs(self, repository: RepositoryName, digests: Sequence[Digest]) -> list[Digest]:
        return [digest for digest in digests if not self._has_blob(repository, digest)]

    def _has_blob(self, repository: RepositoryName, digest: Digest) -> bool:
        return self._holder(repository, digest) is not None

    def _holder(self, repository: RepositoryName, digest: Digest) -> Digest | None:
        """The digest under which the content of a blob lies; None where it is no blob of the repository.

        It is the blob's own, unless Distribution stored it: that keeps content under SHA-256 alone, and the link of
        a blob that was pushed by another digest names that.
        """
        link = f"{self.layout.layer(repository, digest)}/link"
        if not exists(link):
            return None
        if exists(self.layout.data(digest)):
            return digest
        holder = read_link(link)
        return holder if holder is not None and exists(self.layout.data(holder)) else None

    async def mount_blob(
        self,
        digest: Digest,
        source: RepositoryName | None,
        target: RepositoryName,
        visible: View | None = None,
    ) -> None:
        wanted = _Wanted(digest, source, visible)
        # The search for a source takes long, and a quota may have room for one and not for several.
        if source is None or self._groups(target):
            missing = (await self._mount_all(target, [wanted]))[0]
            if missing is not None:
                raise missing
        else:
            await self._mounts.result(target, wanted)

    async def _mount_each(self, target: RepositoryName, wanted: list[_Wanted]) -> Sequence[Exception | None]:
        return await each_for_itself(partial(self._mount_all, target), wanted)

    async def _mount_all(self, target: RepositoryName, wanted: list[_Wanted]) -> Sequence[StoreError | None]:
        """Why each is refused, or None: then it is mounted, with one look at the repository, and one sync of it."""
        # A search must not keep links waiting.
        run = self.in_metadata if all(each.source for each in wanted) else self.in_background
        for _ in range(_RETRIES):
            change = Change(self.disk, self.layout.new)
            try:
                links, refused, is_placed = await run(self._mount, change, target, wanted)
                if is_placed is None:
                    place = partial(self.in_turn, target, self._place_mounts, change, target, links, refused)
                    with suppress(GoneError):
                        is_placed = await self.counted(place)
                if is_placed:
                    return refused
            finally:
                if not change.is_placed:
                    await self.in_metadata(change.discard)
        raise Unavailable("the blob's repository is changing too fast")

    def _mount(
        self, change: Change, target: RepositoryName, wanted: list[_Wanted]
    ) -> tuple[list[Link], list[StoreError | None], bool | None]:
        """The links, why each is refused, and whether they are placed, in one thread; None where a lock keeps us."""
        links: dict[Digest, Link] = {}
        refused: list[StoreError | None] = []
        for digest, source, visible in wanted:
            holder = self._holder(source, digest) if source else self._find_holder(digest, visible)
            refused.append(NotFound(digest) if holder is None else None)
            if holder is not None and digest not in links:
                links[digest] = link = self.link_blob(change, target, digest, holder, source)
                link.granted.append(self.layout.data(holder))
                change.rely_on(self.layout.data(holder))
        change.stage()
        made = list(links.values())
        try:
            return made, refused, not made or self._place_mounts(change, target, made, refused)
        except GoneError:
            return made, refused, False
        except (Busy, UncountedError):
            return made, refused, None

    def _place_mounts(
        self, change: Change, target: RepositoryName, links: list[Link], refused: list[StoreError | None]
    ) -> bool:
        """True. Raises GoneError where what was taken for granted, content and links, is not there, and Busy."""
        with (
            self.taking(target, lambda: sum(map(self._added_by, links))),
            self.locks.hold(target, *(link.holder for link in links)),
        ):
            if not all(exists(path) for link in links for path in link.granted):
                raise GoneError
            change.place()
            for link in links:
                self.lease(link)
        try:
            change.settle()
        except OSError as error:
            # Not tried again: the system may have forgotten what it could not write.
            refused[:] = [refusal or store_error(error) for refusal in refused]
        return True

    def _added_by(self, link: Link) -> int:
        """How many bytes the repository holds more, once it has the links."""
        return sum(
            size_of(self.layout.data(name)) or 0
            for name in {link.holder, link.digest}
            if not exists(f"{self.layout.layer(link.repository, name)}/link")
        )

    def _find_holder(self, digest: Digest, visible: View | None) -> Digest | None:
        """As `_holder`, of any visible repository; a search that takes long ends with None, and the client uploads.

        Whether the content is there at all is a short cut only for who may see everything: the time that it saves
        would tell others what the repositories hold that they do not see.
        """
        if visible is None and not exists(self.layout.data(digest)):
            return None
        deadline = time.monotonic() + _SEARCH_SECONDS
        for name in repositories(self.layout.repositories):
            if (visible is None or visible(name)) and (holder := self._holder(name, digest)):
                return holder
            if time.monotonic() > deadline:
                return None
        return None

    def link_blob(
        self,
        change: Change,
        repository: RepositoryName,
        digest: Digest,
        holder: Digest | None = None,
        source: RepositoryName | None = None,
    ) -> Link:
        """Add to a change what makes a blob visible in a repository; its link may be that of the `source`.

        `holder` is the digest that its content lies under, if that is another; Distribution wants it linked too.
        """
        link = Link(repository, digest, holder or digest, [])
        for name in dict.fromkeys((link.holder, digest)):
            path = f"{self.layout.layer(repository, name)}/link"
            if is_link(path):
                change.rely_on(path)
                link.granted.append(path)
                continue
            theirs = f"{self.layout.layer(source, name)}/link" if source else None
            if theirs is not None and read_link(theirs) == link.holder:
                change.alike(path, theirs, link.holder.encode())
            else:
                change.file(path, link.holder.encode())
        return link

    def lease(self, link: Link) -> None:
        """Renew the leases on a blob and its content, under the locks of its repository and of its content.

        A link that has just been put into its folder has given that the present time.
        """
        for name in dict.fromkeys((link.holder, link.digest)):
            folder = self.layout.layer(link.repository, name)
            if f"{folder}/link" in link.granted:
                self.leases.renew(folder)
        self.leases.renew(self.layout.blob(link.holder))

    async def delete_blob(self, repository: RepositoryName, digest: Digest) -> None:
        await self.in_turn(repository, self._delete_blob, repository, digest)

    def _delete_blob(self, repository: RepositoryName, digest: Digest) -> None:
        folder = self.layout.layer(repository, digest)
        with self.locks.hold(repository):
            if not self._has_blob(repository, digest):
                raise NotFound(digest)
            try:
                away = self.away(folder)
            except FileNotFoundError:
                raise NotFound(digest) from None
        self.disk.sync_folder(os.path.dirname(folder))
        remove(away)
