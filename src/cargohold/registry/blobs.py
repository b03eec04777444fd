"""Blobs: find, mount, delete."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cargohold.storage.protocols import NotFound
from cargohold.types.errors import BlobUnknown

if TYPE_CHECKING:
    from cargohold.storage.protocols import BlobStore, Content
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

    async def mount(self, digest: Digest, source: RepositoryName | None, target: RepositoryName) -> bool:
        """Make a blob of another repository one of this; False where it is not there to be mounted."""
        try:
            await self._store.mount_blob(digest, source, target)
        except NotFound:
            return False
        return True

    async def delete(self, repository: RepositoryName, digest: Digest) -> None:
        """Take the blob from this repository alone. Raises BlobUnknown."""
        try:
            await self._store.delete_blob(repository, digest)
        except NotFound:
            raise BlobUnknown(detail={"digest": digest}) from None
