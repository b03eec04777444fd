"""Blobs: find, mount, delete."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cargohold.registry.quotas import within_quotas
from cargohold.storage.protocols import NotFound
from cargohold.types.errors import BlobUnknown

if TYPE_CHECKING:
    from cargohold.storage.protocols import BlobStore, Content, View
    from cargohold.types.digest import Digest
    from cargohold.types.names import RepositoryName


class Blobs:
    """The blobs that repositories hold."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store

    async def find(self, repository: RepositoryName, digest: Digest) -> Content:
        """The content of a blob. Raises BlobUnknown."""
        try:
            return await self._store.find_blob(repository, digest)
        except NotFound:
            raise BlobUnknown(detail={"digest": digest}) from None

    async def check(self, repository: RepositoryName, digest: Digest) -> Content:
        """As `find`, for one who may go on to push a manifest: it stays for the grace time. Raises BlobUnknown."""
        try:
            return await self._store.lease_blob(repository, digest)
        except NotFound:
            raise BlobUnknown(detail={"digest": digest}) from None

    async def mount(
        self,
        digest: Digest,
        source: RepositoryName | None,
        target: RepositoryName,
        visible: View | None,
    ) -> bool:
        """Make a blob of another repository, one that is visible, one of this; False where there is none such.

        `visible` None: all are. Raises Denied where a quota leaves too little room.
        """
        if source and visible and not visible(source):
            return False
        try:
            with within_quotas():
                await self._store.mount_blob(digest, source, target, visible)
        except NotFound:
            return False
        return True

    async def delete(self, repository: RepositoryName, digest: Digest) -> None:
        """Take the blob from this repository alone. Raises BlobUnknown."""
        try:
            await self._store.delete_blob(repository, digest)
        except NotFound:
            raise BlobUnknown(detail={"digest": digest}) from None
