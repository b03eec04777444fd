"""The file system store keeps the contract, with two instances over one tree as two workers have them."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from cargohold.storage.filesystem import FilesystemStore

from .contract import Pair, StoreContract

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cargohold.types.names import RepositoryName, UploadId


class TestFilesystemStore(StoreContract):
    """Nothing but the tree is shared by the two."""

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Pair]:
        with TemporaryDirectory() as root:
            store, second = FilesystemStore(root), FilesystemStore(root)
            store.prepare()

            def age(repository: RepositoryName, upload: UploadId, seconds: float) -> None:
                folder = store.layout.upload(repository, upload)
                for path in (*(f"{folder}/{name}" for name in os.listdir(folder)), folder):
                    then = os.stat(path).st_mtime - seconds
                    os.utime(path, (then, then))

            try:
                yield Pair(store, second, age)
            finally:
                store.close()
                second.close()
